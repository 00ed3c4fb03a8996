"""The same tokens everywhere: bans, and any test of a token's text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from espalier.constraints.guide import Guide
from espalier.constraints.words.lexical import avoids
from espalier.errors import InvalidInput, require
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint

if TYPE_CHECKING:
    from torch import Tensor


class Filter(TokenConstraint):
    """The constraint that every token is one of these: one mask for all rows."""

    exactness = "exact"

    def __init__(self, mask: Tensor) -> None:
        self._mask = mask

    def start(self) -> bool:
        return True

    def advance(self, state: bool, token: int) -> bool | None:
        return True if 0 <= token < len(self._mask) and bool(self._mask[token]) else None

    def mask(self, state: Any) -> Tensor:
        return self._mask


class tokens:
    """What every token's text must satisfy: `test` is a function of it; end tokens are always allowed.

    The test sees single tokens (bytes that are no text as `\\ufffd`), so what it says of words holds only as far as words are
    tokens. Exact for what holds of a text if it holds of its pieces. A test that raises is told, with the token.

    >>> import espalier as es
    >>> law = tokens(str.islower).over(Vocab([b"a", b"B", b"c", None], end=[3]))
    >>> law.mask(law.start()).tolist()
    [True, False, True, True]
    """

    exactness = "exact"

    def __init__(self, test: Callable[[str], object]) -> None:
        require(callable(test), f"tokens({test!r}): give a function of a token's text, such as str.islower")
        self.test = test

    def over(self, vocab: Vocab) -> TokenConstraint:
        """The constraint over the tokens of a vocabulary; the test is made once for each."""
        import torch

        return Filter(torch.tensor([id in vocab.end or self._passes(vocab[id]) for id in range(vocab.size)]))

    def _passes(self, token: bytes) -> bool:
        text = token.decode("utf-8", "replace")
        try:
            return bool(token) and bool(self.test(text))
        except Exception as error:
            raise InvalidInput(f"{self!r}: the test raised {type(error).__name__} on the token {text!r}: {error}") from error

    def __and__(self, other: Any) -> Any:
        from espalier.token_constraint import Together

        return Together(self) & other

    def __repr__(self) -> str:
        return f"tokens({getattr(self.test, '__qualname__', self.test)})"


class Ban(TokenConstraint):
    """The constraint that some tokens are never written."""

    exactness = "exact"

    def __init__(self, banned: frozenset[int]) -> None:
        self.banned = banned

    def start(self) -> bool:
        return True

    def advance(self, state: bool, token: int) -> bool | None:
        return None if token in self.banned else True

    def over(self, vocab: Vocab) -> TokenConstraint:
        """The same, with a mask; raises `InvalidInput` for a token that the vocabulary does not have."""
        import torch

        for token in self.banned:
            require(0 <= token < vocab.size, f"ban({token}): there are the tokens 0 to {vocab.size - 1}")
        mask = torch.ones(vocab.size, dtype=torch.bool)
        mask[sorted(self.banned)] = False
        return Filter(mask)

    def __repr__(self) -> str:
        return f"ban({', '.join(map(str, sorted(self.banned)))})"


def ban(*what: int | str | Iterable[int | str]) -> Any:
    """What is never written: tokens by their ids, texts however they may be split into tokens, or both.

    Law: each row is the model's without what is banned, renormalised: q(v) = p(v) / Σ p(allowed). That is the row nearest to
    the model's in KL(q ‖ p) among those that leave out what is banned, which (G)I-DLE (Kwon et al. 2025, arXiv 2503.18050)
    derives: the same as -inf before the softmax, to the last bit but rounding, and nothing more. `Row.log_normaliser` is the
    log of the mass that was left. Texts are banned by `avoids`, exactly; ids one by one. With the labels that a model was
    trained to write in front of unsafe code, this is vulnerability-constrained decoding (Storhaug et al. 2023, arXiv
    2309.09826): the label never comes; that the code is safe does not follow.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=1, seed=0)
    >>> [x] = es.run(es.sample(model * ban(1, 2), es.Prefix([0]), es.stop.budget(5), es.Rng(0)))
    >>> set(x.written()) <= {0, 3}
    True
    >>> ban("http").matches(b"see ftp")
    True
    """
    flat = [one for some in what for one in (some if isinstance(some, Iterable) and not isinstance(some, str) else [some])]
    require(len(flat) > 0, "ban(): give tokens or texts: ban(13), ban('http')")
    for one in flat:
        if isinstance(one, bool) or not isinstance(one, (int, str)):
            raise InvalidInput(f"ban({one!r}): a token is a whole number, a phrase a text")
    texts, ids = [one for one in flat if isinstance(one, str)], frozenset(one for one in flat if isinstance(one, int))
    if not ids:
        return avoids(*texts)
    guide: Guide | None = avoids(*texts) if texts else None
    return Ban(ids) if guide is None else guide & Ban(ids)
