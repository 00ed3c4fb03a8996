"""Guides written in Python: what follows one, and what is told where an answer of it makes no sense."""

from __future__ import annotations

from typing import Any

from espalier.errors import EspalierError, InvalidInput


class Leaf:
    """A guide written in Python, with each answer looked at: a wrong one raises `InvalidInput` and says what was expected."""

    expression = None

    def __init__(self, guide: Any) -> None:
        self.guide = guide
        self.label = repr(guide)[:200]

    @property
    def exactness(self) -> str:
        exactness: str = self.guide.exactness
        if exactness not in ("exact", "over"):
            raise InvalidInput(f'{self.label}.exactness is {exactness!r}; write "exact" or "over"')
        return exactness

    @property
    def lazy(self) -> bool:
        return bool(self.guide.lazy)

    def machine(self) -> None:
        return None

    def start(self) -> Any:
        return self._state("start", None)

    def advance(self, state: Any, data: bytes) -> Any | None:
        return self._state("advance", state, data) if data else state

    def _state(self, method: str, before: Any, *data: bytes) -> Any | None:
        given = (before, *data) if data else ()
        after = self._called(method, given)
        wrong = "" if after is not None or data else "None, which means refused; raise Unsatisfiable if there is no text at all"
        if after is NotImplemented or hasattr(after, "__await__") or hasattr(after, "send"):
            wrong = f"{after!r}, which is no state"
        elif isinstance(after, bool) and data and not isinstance(before, bool):
            wrong = f"{after}; write None to refuse, or the next state"
        else:
            try:
                hash(after)
            except TypeError:
                wrong = f"{after!r}, which cannot be hashed; a state is an immutable value such as a number, a text or a tuple"
        if wrong:
            raise InvalidInput(f"{_call(self.label, method, given)} returned {wrong}")
        return after

    def _called(self, method: str, given: tuple[Any, ...]) -> Any:
        try:
            return getattr(self.guide, method)(*given)
        except EspalierError:
            raise
        except Exception as error:
            raise InvalidInput(
                f"{_call(self.label, method, given)} raised {type(error).__name__}: {error}; a guide's {method} "
                f"{_EXPECTED[method]}"
            ) from error

    def accepts(self, state: Any) -> bool:
        answer = self._called("accepts", (state,))
        if type(answer).__name__ not in ("bool", "bool_"):
            raise InvalidInput(f"{_call(self.label, 'accepts', (state,))} returned {answer!r}; {_EXPECTED['accepts']}")
        return bool(answer)

    def forced(self, state: Any) -> bytes:
        data = self._called("forced", (state,))
        if not isinstance(data, bytes) or (data and self.advance(state, data) is None):
            raise InvalidInput(f"{_call(self.label, 'forced', (state,))} returned {data!r}; it {_EXPECTED['forced']}")
        return data


_EXPECTED = {
    "start": "returns the state before the first byte",
    "advance": "returns the state after the bytes, or None if no text of it goes on like this",
    "accepts": "returns True if the text may end here, else False",
    "forced": 'returns the bytes with which every continuation begins, b"" if there are none',
}


def _call(label: str, method: str, given: tuple[Any, ...]) -> str:
    return f"{label}.{method}({', '.join(repr(value)[:80] for value in given)})"
