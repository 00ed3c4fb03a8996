"""Any Python test of the text so far."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import Any, Literal

from espalier.constraints.guide import Guide
from espalier.constraints.words.characters import decoded
from espalier.errors import EspalierError, InvalidInput, LimitExceeded, require

Test = Callable[[str], object]
_KEPT = 1 << 16  # answers that are remembered


class predicate(Guide):
    """The guide of the texts that pass a Python test: of every beginning (`prefix`), of the whole (`final`), or both.

    Lazy: only tokens that would be chosen are tested, in their order (PICARD: Scholak et al. 2021, arXiv 2109.05093, whose
    modes are tests: of words, of the grammar's beginnings, of names in scope; `examples/sql_on_sqlite.py`). Answers are
    remembered. A test gets a str; it is asked after each token, when the last character is whole. `prefix` must hold of every
    beginning of a text that is wanted, else what it refuses too early is lost.

    With `time_limit` (seconds) a test that takes longer counts as `late` says: "raise" (`LimitExceeded`), "refuse" or "allow".
    It runs on a thread of its own, which cannot be stopped: it is left behind. A test that raises is told, with its text.
    Exactness: "over".

    >>> guide = predicate(prefix=lambda text: "e" not in text, final=lambda text: text.endswith("!"))
    >>> guide.matches(b"A loud cry!"), guide.matches(b"A loud cry"), guide.advance(guide.start(), b"the")
    (True, False, None)
    """

    lazy = True

    def __init__(
        self,
        prefix: Test | None = None,
        final: Test | None = None,
        *,
        time_limit: float | None = None,
        late: Literal["raise", "refuse", "allow"] = "raise",
    ) -> None:
        require(prefix is not None or final is not None, "predicate(): give a test: predicate(prefix=…), predicate(final=…)")
        for name, test in (("prefix", prefix), ("final", final)):
            require(test is None or callable(test), f"predicate({name}={test!r}): a test is a function of the text so far")
        require(time_limit is None or time_limit > 0, f"time_limit={time_limit}: a number of seconds above 0, or None")
        require(late in ("raise", "refuse", "allow"), f"late={late!r}: write 'raise', 'refuse' or 'allow'")
        self.prefix, self.final, self.time_limit, self.late = prefix, final, time_limit, late
        self._answers: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def start(self) -> bytes:
        return b""

    def advance(self, state: bytes, data: bytes) -> bytes | None:
        after = decoded(state + data)
        if after is None or (self.prefix is not None and not self._passes("prefix", self.prefix, after[0])):
            return None
        return state + data

    def accepts(self, state: bytes) -> bool:
        after = decoded(state)
        return after is not None and after[1] == b"" and (self.final is None or self._passes("final", self.final, after[0]))

    def _passes(self, name: str, test: Test, text: str) -> bool:
        key = name, text
        if key not in self._answers:
            self._answers[key] = self._asked(name, test, text)
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return self._answers[key]

    def _asked(self, name: str, test: Test, text: str) -> bool:
        try:
            return bool(test(text) if self.time_limit is None else timed(test, text, self.time_limit))
        except Late:
            if self.late == "raise":
                raise LimitExceeded(
                    f"{self!r}: the {name} test took more than {self.time_limit} s on {text[-200:]!r}; give it more, "
                    "or say late='refuse' or late='allow'"
                ) from None
            return self.late == "allow"
        except EspalierError:
            raise
        except Exception as error:
            raise InvalidInput(
                f"{self!r}: the {name} test raised {type(error).__name__} on {text[-200:]!r}: {error}; "
                "a test returns True or False"
            ) from error

    def __repr__(self) -> str:
        tests = [("prefix", self.prefix), ("final", self.final)]
        shown = [f"{name}={getattr(test, '__qualname__', repr(test))}" for name, test in tests if test is not None]
        return f"predicate({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_answers": OrderedDict()}


def timed(call: Callable[[Any], Any], argument: Any, seconds: float) -> Any:
    """What `call(argument)` returns, on a thread of its own; raises the built-in TimeoutError after so many seconds.

    >>> timed(len, "abc", 1.0)
    3
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="espalier-test")
    try:
        future: Future[Any] = pool.submit(call, argument)
        return future.result(seconds)
    finally:
        pool.shutdown(wait=False)
