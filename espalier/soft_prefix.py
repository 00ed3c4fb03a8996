"""Prefixes that are not made of tokens: runs of input embeddings, or of keys and values that are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from espalier.errors import expect, require
from espalier.prefix import Prefix, Query

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Soft", "embedded", "leaf"]


class Soft(Prefix):
    """A node that a model reads as input embeddings [n, D] instead of tokens: a soft prompt, a mixture of tokens.

    `tokens` stand in its place for whoever looks at tokens (−1 if none are named, which no vocabulary holds). `cache`: keys and
    values [L, n, width] that the model takes for those it would compute. Rows are differentiable in what requires gradients,
    on models whose capabilities are `gradients`. Immutable: a changed embedding is another node. Raises `InvalidInput` for
    embeddings that are not [n, D].

    >>> import torch
    >>> soft = Soft(torch.zeros(2, 8), Prefix([1, 2, 3]))
    >>> len(soft), (soft + 4).ids()
    (5, [1, 2, 3, -1, -1, 4])
    """

    __slots__ = ("cache", "embeds")

    def __init__(
        self,
        embeds: Tensor | None = None,
        parent: Prefix | None = None,
        *,
        tokens: Iterable[int] | None = None,
        cache: tuple[Tensor, Tensor] | None = None,
        written: bool = False,
    ) -> None:
        from torch import Tensor

        expect(embeds, (Tensor, type(None)), "the embeddings of a soft prefix", "a tensor [n, D], say model.embed([5, 6])")
        require(embeds is not None or cache is not None, "a soft prefix needs embeddings [n, D], or a cache (keys, values)")
        if embeds is not None:
            shape = tuple(embeds.shape)
            require(len(shape) == 2 and min(shape) > 0, f"embeddings of shape {shape}; one row for each position: [n, D]")
        assert embeds is not None or cache is not None
        size = len(embeds) if embeds is not None else cache[0].shape[1]  # type: ignore[index]
        names = [-1] * size if tokens is None else list(tokens)
        require(len(names) == size, f"{len(names)} tokens were named for {size} positions; name one for each")
        super().__init__(names, parent, written=written)
        self.embeds, self.cache = embeds, cache

    @property
    def gradients(self) -> bool:
        """Whether rows after it shall be differentiable."""
        given = [self.embeds, *(self.cache or ())]
        return any(tensor is not None and tensor.requires_grad for tensor in given)


def leaf(scorer: Any) -> Any | None:
    """The model under shapers and constraints; None if there is none, or more than one.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=1, seed=0)
    >>> leaf(model | es.top_k(2)) is model
    True
    """
    while hasattr(scorer, "inner"):
        scorer = scorer.inner
    return scorer if hasattr(scorer, "forward") else None


def embedded(scorer: Any, prefixes: Sequence[Query], embeds: Sequence[Tensor]) -> list[Prefix]:
    """Each prefix followed by its embeddings [n, D]. Raises `InvalidInput` unless there is one for each, and the scorer's model
    takes them.

    >>> import espalier as es
    >>> embedded(es.models.Table.random(vocab_size=4, depth=1, seed=0), [Prefix([1])], [])
    Traceback (most recent call last):
        ...
    espalier.errors.InvalidInput: Table takes tokens alone, no embeddings; load a model whose capabilities are embeddings
    """
    model = leaf(scorer)
    require(
        model is None or model.capabilities.embeddings,
        f"{type(model).__name__} takes tokens alone, no embeddings; load a model whose capabilities are embeddings",
    )
    require(
        len(embeds) == len(prefixes),
        f"embeds holds {len(embeds)} tensors for {len(prefixes)} prefixes; give one [n, D] for each",
    )
    found: list[Prefix] = []
    for x, each in zip(prefixes, embeds, strict=True):
        expect(x, Prefix, "what embeddings follow", "a Prefix")
        assert isinstance(x, Prefix)
        found.append(Soft(each, x))
    return found
