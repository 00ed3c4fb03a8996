"""A guide over the tokens of a vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espalier.constraints.guide import Guide
from espalier.text.vocab import Vocab


class TokenGuide:
    """The token-level view of a guide: what a row of a model may become.

    A token is allowed iff its bytes may follow; an end token iff the text may end; special tokens never. After an end
    token no token is allowed. `allowed` costs one look at the token's bytes; `mask` gives all tokens at once.
    """

    def __init__(self, guide: Guide, vocab: Vocab) -> None:
        self.guide, self.vocab = guide, vocab
        self.exactness = guide.exactness

    def start(self) -> Any:
        """The state before the first token."""
        return self.guide.start()

    def advance(self, state: Any, token: int) -> Any | None:
        """The state after this token, None if it is refused."""
        if state == ENDED:
            return None
        if token in self.vocab.end:
            return ENDED if self.guide.accepts(state) else None
        data = self.vocab[token]
        return self.guide.advance(state, data) if data else None

    def allowed(self, state: Any, token: int) -> bool:
        """Whether this token may follow."""
        return self.advance(state, token) is not None

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""
        return state == ENDED or self.guide.accepts(state)

    def mask(self, state: Any) -> Tensor:
        """bool [V]: the tokens that may follow."""
        return torch.tensor([self.allowed(state, token) for token in range(self.vocab.size)])

    def forced(self, state: Any) -> bytes:
        """The bytes that every continuation begins with."""
        return b"" if state == ENDED else self.guide.forced(state)


ENDED = -1
