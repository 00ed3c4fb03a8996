"""Token masks for people who bring their own loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from espalier.constraints.compiled.maskers import fill_rows, masker
from espalier.constraints.limits import teaching
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

if TYPE_CHECKING:
    from espalier.constraints.guide import Guide


def masks(guide: Guide, vocab: Vocab) -> Masks:
    """The token masks of a guide over a vocabulary.

    A mask is a bitmap of ceil(V / 32) words of 32 bits: bit `t & 31` of word `t >> 5` is set iff token t may follow. All
    tokens that keep a completion possible are set, end tokens iff the text may end, special tokens never.

    >>> import torch
    >>> from espalier.constraints import regex
    >>> vocab = Vocab([b"a", b"b", b"ab", None], end=[3])
    >>> cursor = masks(regex("ab*"), vocab).start(buffer := torch.zeros(1, dtype=torch.int32))
    >>> cursor.commit(0), cursor.fill(), int(buffer[0])
    (True, None, 10)
    """
    return Masks(guide, vocab)


def fill_batch(rows: Sequence[tuple[Masks, Any]], out: Any, threads: int = 0) -> None:
    """Write into row i of `out` the mask of `rows[i]`: masks, of any guides over one vocabulary, and a state of theirs.

    >>> import numpy as np, espalier as es
    >>> vocab = Vocab([b"a", b"b", b"ab", None], end=[3])
    >>> x, y = masks(es.regex("ab*"), vocab), masks(es.regex("b"), vocab)
    >>> fill_batch([(x, x.state()), (y, y.state())], out := np.zeros((2, x.words), np.int32), threads=2)
    >>> out.tolist()
    [[5], [2]]
    """
    for row in rows:
        if not (isinstance(row, tuple) and len(row) == 2 and isinstance(row[0], Masks)):
            raise InvalidInput(f"fill_batch: a row is a pair (masks, state) such as (masks, masks.state()), not {row!r}")
    with teaching():
        fill_rows([each._masker for each, _ in rows], [state for _, state in rows], out, _counted(threads))


def _listed(states: Any) -> list[Any]:
    if not isinstance(states, Sequence):
        raise InvalidInput(f"fill_batch({states!r}, …): give a list of states, such as [masks.state()]")
    return list(states)


def _counted(threads: Any) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or not 0 <= threads <= 1024:
        raise InvalidInput(f"fill_batch(threads={threads!r}): a number from 0 (as many as are useful) to 1024")
    return threads


class Masks:
    """`masks(guide, vocab)`: states are immutable values, or a cursor moves along.

    >>> import espalier as es
    >>> masks = Masks(es.regex("ab*"), Vocab([b"a", b"b", b"ab", None], end=[3]))
    >>> state = masks.advance(masks.state(), 0)
    >>> masks.accepts(state), masks.advance(state, 0)
    (True, None)
    """

    def __init__(self, guide: Guide, vocab: Vocab) -> None:
        if not hasattr(guide, "engine") or not isinstance(vocab, Vocab):
            raise InvalidInput(f"masks({guide!r}, {vocab!r}): give a guide, such as es.regex(…), and a Vocab, such as lm.vocab")
        self.guide, self.vocab = guide, vocab
        self.words = (vocab.size + 31) // 32
        self._masker = masker(guide.engine, vocab)

    def start(self, buffer: Any) -> Cursor:
        """A cursor before the first token; `fill` writes into `buffer` (int32, ceil(V / 32) words, numpy or torch, CPU)."""
        return Cursor(self, buffer)

    def state(self) -> Any:
        """The state before the first token, for `advance` and `fill` without a cursor."""
        self.guide.engine.start()
        return self._masker.start()

    def advance(self, state: Any, token: int) -> Any | None:
        """The state after this token, None if it is refused."""
        with teaching():
            return self._masker.advance(state, token)

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""
        with teaching():
            return self._masker.accepts(state)

    def ended(self, state: Any) -> bool:
        """Whether an end token was the last one."""
        return self._masker.ended(state)

    def fill_known(self, state: Any, buffer: Any) -> None:
        """Write the mask of the parts that are not lazy: no token is missing that the whole guide allows."""
        with teaching():
            self._masker.fill_known(state, buffer)

    def fill(self, state: Any, buffer: Any) -> None:
        """Write the mask of `state` into `buffer`."""
        with teaching():
            self._masker.fill(state, buffer)

    def fill_batch(self, states: Sequence[Any], out: Any, threads: int = 0) -> None:
        """Write the mask of `states[i]` into row i of `out` (int32, N rows of ceil(V / 32) words), on several threads.

        `threads=0` takes as many as there are cores and work for. Python's other threads run meanwhile. The masks are those
        of `fill`.

        >>> import numpy as np, espalier as es
        >>> masks = Masks(es.regex("ab*"), Vocab([b"a", b"b", b"ab", None], end=[3]))
        >>> first = masks.state()
        >>> masks.fill_batch([first, masks.advance(first, 0)], out := np.zeros((2, masks.words), np.int32))
        >>> out.tolist()
        [[5], [10]]
        """
        with teaching():
            self._masker.fill_batch(_listed(states), out, _counted(threads))


class Cursor:
    """A position in a text that moves token by token: `commit(token)`, then `fill()`; both are native calls."""

    def __init__(self, masks: Masks, buffer: Any) -> None:
        masks.guide.engine.start()
        self.buffer = buffer
        with teaching():
            self.commit, self.fill, self.accepts = masks._masker.cursor(buffer)
