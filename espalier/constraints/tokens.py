"""A guide over the tokens of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from espalier.constraints.vocab_masks import masks
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

    from espalier.constraints.guide import Guide


class TokenGuide(TokenConstraint):
    """The token-level view of a guide: what a row of a model may become.

    A token is allowed iff its bytes may follow; an end token iff the text may end; special tokens never. After an end
    token no token is allowed. `allowed` costs one look at the token's bytes; `mask` gives all tokens at once.

    >>> import espalier as es
    >>> law = TokenGuide(es.regex("ab*"), Vocab([b"a", b"b", b"ab", None], end=[3]))
    >>> law.mask(law.start()).tolist(), law.allowed(law.advance(law.start(), 0), 3)
    ([True, False, True, False], True)
    """

    def __init__(self, guide: Guide, vocab: Vocab) -> None:
        self.guide, self.vocab = guide, vocab
        self.exactness = guide.engine.exactness
        self._masks = masks(guide, vocab)

    def start(self) -> Any:
        """The state before the first token. Raises `Unsatisfiable` if no text at all satisfies the guide."""
        return self._masks.state()

    def advance(self, state: Any, token: int) -> Any | None:
        """The state after this token, None if it is refused."""
        return self._masks.advance(state, token)

    def allowed(self, state: Any, token: int) -> bool:
        """Whether this token may follow."""
        return self._masks.advance(state, token) is not None

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here (or has ended)."""
        return self._masks.accepts(state)

    def mask(self, state: Any) -> Tensor | None:
        """bool [V]: the tokens that may follow; None if a part of the guide is lazy."""
        return None if self.guide.engine.lazy else self.filled(state)

    def bits(self, state: Any) -> ndarray | None:
        """The mask as bytes of eight tokens each, the first one lowest, in whole words of 32; None like `mask`."""
        return None if self.guide.engine.lazy else self._words(state).view("uint8")

    def hint(self, state: Any) -> Tensor | None:
        """bool [V]: the mask of the parts that are not lazy."""
        return self.filled(state, self._masks.fill_known)

    def filled(self, state: Any, fill: Callable[[Any, Any], None] | None = None) -> Tensor:
        """The same, made whatever it costs."""
        import numpy as np
        import torch

        bits = np.unpackbits(self._words(state, fill).view("uint8"), count=self.vocab.size, bitorder="little")
        return torch.from_numpy(bits).view(torch.bool)

    def _words(self, state: Any, fill: Callable[[Any, Any], None] | None = None) -> ndarray:
        import numpy as np

        words = np.zeros(self._masks.words, np.int32)
        (fill or self._masks.fill)(state, words)
        return words

    def forced(self, state: Any) -> bytes:
        """The bytes that every continuation begins with (b"" after an end token)."""
        return b"" if self._masks.ended(state) else self.guide.engine.forced(state)

    def progress(self, state: Any) -> Any:
        """How far the text has got with what it owes; see `Guide.progress`."""
        return self.guide.progress(state)

    def __reduce__(self) -> Any:
        return TokenGuide, (self.guide, self.vocab)
