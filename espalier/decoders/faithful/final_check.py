"""A constraint that looks at a whole text only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint


class FinalCheck(TokenConstraint):
    """The texts (bytes) of which `check` says True; asked once per text, at its end. `exactness` is "over".

    >>> law = FinalCheck(lambda data: data == b"ab", Vocab([b"a", b"b", None], end=[2]))
    >>> state = law.advance(law.advance(law.start(), 0), 1)
    >>> state, law.allowed(state, 2), law.allowed(law.start(), 2)
    (b'ab', True, False)
    """

    exactness = "over"

    def __init__(self, check: Callable[[bytes], bool], vocab: Vocab) -> None:
        self.check, self.vocab = check, vocab
        self._known: dict[bytes, bool] = {}
        self._free = torch.tensor([bool(token) for token in vocab.tokens])

    def start(self) -> bytes | None:
        """The empty text."""
        return b""

    def advance(self, state: bytes | tuple[bytes], token: int) -> bytes | tuple[bytes] | None:
        """The text after this token; a tuple once it has ended."""
        if isinstance(state, tuple):
            return None
        if token in self.vocab.end:
            return (state,) if self.accepts(state) else None
        return state + self.vocab[token] if self.vocab[token] else None

    def accepts(self, state: bytes | tuple[bytes]) -> bool:
        """Whether the text satisfies the check."""
        if isinstance(state, tuple):
            return True
        if state not in self._known:
            self._known[state] = bool(self.check(state))
        return self._known[state]

    def mask(self, state: bytes | tuple[bytes]) -> Tensor:
        """bool [V]: every token that writes something, and the end if the text satisfies the check."""
        mask = self._free.clone()
        if isinstance(state, tuple):
            return torch.zeros_like(mask)
        if self.vocab.end and self.accepts(state):
            mask[sorted(self.vocab.end)] = True
        return mask
