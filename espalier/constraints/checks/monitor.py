"""Static analysis in the loop: where a trigger stands, a callback says which names may follow."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import TimeoutError as Late
from typing import Any, Literal

from espalier.constraints.checks.predicate import timed
from espalier.constraints.guide import Guide
from espalier.constraints.words.characters import decoded
from espalier.errors import EspalierError, InvalidInput, LimitExceeded, require

Names = Callable[[str], Iterable[str]]
State = tuple[str, bytes, frozenset[str] | None]  # the text, bytes of a character, what may be left of the name (None: idle)
_KEPT = 4096


class monitor(Guide):
    """The guide of the texts in which, after each trigger, one of the names stands that a callback gives for the text so far.

    `trigger` is a text (".") or a test of the text so far; `names(text)` returns the legal names, none if it does not know:
    then anything may follow. A name ends before a character that is no letter, digit or underscore. `before` is the text that
    the written one goes on from; trigger and callback see both. Answers are kept by text. With `time_limit` (seconds) a
    callback that takes longer counts as `late` says: "idle" (anything may follow; warned of once) or "raise" (`LimitExceeded`).

    Guarantee: every name after a trigger is one of the callback's, where it gave any; nothing is said of the rest. Lazy: only
    tokens that would be chosen are looked at. Agrawal et al. 2023, "Monitor-guided decoding" (arXiv 2306.10763). Monitors are
    joined with `&`. A callback that raises is told.

    >>> guide = monitor(".", lambda text: ["area", "name"] if text.endswith("shape.") else [])
    >>> guide.matches(b"shape.area + 1"), guide.matches(b"shape.size"), guide.matches(b"x.size")
    (True, False, True)
    """

    lazy = True

    def __init__(
        self,
        trigger: str | Callable[[str], object],
        names: Names,
        *,
        before: str = "",
        time_limit: float | None = None,
        late: Literal["idle", "raise"] = "idle",
    ) -> None:
        right = callable(trigger) or (isinstance(trigger, str) and trigger != "")
        require(right, f"monitor({trigger!r}): the trigger is a text, or a test of the text so far")
        require(callable(names), f"monitor: {names!r} is no function from the text so far to the names that may follow")
        require(time_limit is None or time_limit > 0, f"time_limit={time_limit}: a number of seconds above 0, or None")
        require(late in ("idle", "raise"), f"late={late!r}: write 'idle' or 'raise'")
        self.trigger, self.names, self.before, self.time_limit, self.late = trigger, names, before, time_limit, late
        self._known: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._told = False

    def start(self) -> State:
        return "", b"", self._asked("")

    def advance(self, state: State, data: bytes) -> State | None:
        text, held, left = state
        after = decoded(held + data)
        if after is None:
            return None
        for character in after[0]:
            if left is not None and (character.isalnum() or character == "_"):
                left = frozenset(name[1:] for name in left if name.startswith(character))
                if not left:
                    return None
                text += character
                continue
            if left is not None and "" not in left:
                return None
            text += character
            left = self._asked(text)
        if after[1] and left is not None and "" not in left and not any(name.encode().startswith(after[1]) for name in left):
            return None  # a character has begun that no name goes on with
        return text, after[1], left

    def accepts(self, state: State) -> bool:
        return state[1] == b"" and (state[2] is None or "" in state[2])

    def _asked(self, text: str) -> frozenset[str] | None:
        """What may follow here if a trigger stands here; None where anything may."""
        whole = self.before + text
        fires = whole.endswith(self.trigger) if isinstance(self.trigger, str) else self._called(self.trigger, whole)
        if not fires:
            return None
        if whole not in self._known:
            self._known[whole] = frozenset(self._listed(whole))
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[whole] or None

    def _listed(self, whole: str) -> list[str]:
        try:
            found = self._called(self.names, whole) if self.time_limit is None else timed(self._names, whole, self.time_limit)
        except Late:
            if self.late == "raise":
                raise LimitExceeded(
                    f"{self!r}: the names after {whole[-80:]!r} took more than {self.time_limit} s; give more, or late='idle'"
                ) from None
            if not self._told:
                self._told = True
                said = f"{self!r}: the names after {whole[-80:]!r} took more than {self.time_limit} s"
                warnings.warn(f"{said}, so anything may follow; give more, or say late='raise'", stacklevel=2)
            return []
        names = list(found)
        for name in names:
            if not isinstance(name, str) or name == "":
                raise InvalidInput(f"{self!r}: the callback gave {name!r} after {whole[-80:]!r}; names are texts")
        return names

    def _names(self, whole: str) -> list[str]:
        return list(self._called(self.names, whole))

    def _called(self, call: Callable[[str], Any], whole: str) -> Any:
        try:
            return call(whole)
        except EspalierError:
            raise
        except Exception as error:
            raise InvalidInput(
                f"{self!r}: the callback raised {type(error).__name__} after {whole[-80:]!r}: {error}; "
                "return the names that may follow, none if they are not known"
            ) from error

    def __repr__(self) -> str:
        shown = [getattr(call, "__qualname__", type(call).__name__) for call in (self.trigger, self.names)]
        return f"monitor({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_known": OrderedDict()}
