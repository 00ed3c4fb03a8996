"""Trimmed vocabularies: a draft model that speaks only of frequent tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.models.executors.eager import Eager, Executor
from espalier.models.executors.native import Engine
from espalier.models.executors.sublayers import Sublayers
from espalier.models.kv.layout import Pass
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage


class VocabTrim(Shaper):
    """Gives weight to the kept tokens only: `DraftModel(model | VocabTrim(frequent(texts, 4096)))`.

    Drafts from it are exact as ever, since q is the trimmed law; what the target says of other tokens comes through the
    residual. This is the law of it for any scorer; `trimmed` also saves the head's work. Goel et al. 2025,
    "VOCABTRIM" (arXiv 2506.22694); Zhao et al. 2025, "FR-Spec" (arXiv 2502.14856).

    >>> VocabTrim([0, 2])(torch.zeros(1, 3), []).tolist()
    [[0.0, -inf, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, keep: Iterable[int]) -> None:
        self.keep = sorted(set(keep))
        require(bool(self.keep), "keep is empty: at least one token must be left to draft")

    def check(self, vocab_size: int) -> None:
        require(
            self.keep[0] >= 0 and self.keep[-1] < vocab_size,
            f"keep names tokens {self.keep[0]} to {self.keep[-1]}, but this vocabulary has {vocab_size}",
        )

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        kept = torch.tensor(self.keep, device=weights.device)
        return torch.full_like(weights, -torch.inf).index_copy(-1, kept, weights.index_select(-1, kept))


def frequent(texts: Iterable[Sequence[int]], most: int) -> list[int]:
    """The `most` most frequent tokens of some tokenised texts, the target's own output preferably; of equals the smaller.

    >>> frequent([[5, 5, 7], [7, 5, 9]], 2)
    [5, 7]
    """
    require(most >= 1, f"most={most}: at least one token must be kept")
    counts = Counter(token for text in texts for token in text)
    return sorted(counts, key=lambda token: (-counts[token], token))[:most]


class Scattered:
    """An executor whose logits are those of `few`, a head of m rows, at the tokens `keep` [m], and -inf elsewhere."""

    def __init__(self, few: Executor, keep: Tensor, vocab_size: int) -> None:
        self.few, self.keep, self.vocab_size = few, keep, vocab_size
        self.layers, self.kv_dtype, self.device, self.stages = few.layers, few.kv_dtype, few.device, few.stages
        self.kind = f"{getattr(few, 'kind', few.kv_dtype)}, {len(keep)} tokens"

    def run(
        self, rows: Pass, keys: Tensor, values: Tensor, taps: bool, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return self.few.run(rows, keys, values, taps, start=start)

    @torch.no_grad()
    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        few = self.few.read(hidden, norm)
        return torch.full((len(hidden), self.vocab_size), -torch.inf, device=few.device).index_copy(-1, self.keep, few)

    def partial(self, layers: Sequence[int]) -> Scattered:
        return Scattered(self.few.partial(layers), self.keep, self.vocab_size)

    def within(self, layers: Sequence[Sublayers]) -> Scattered:
        return Scattered(self.few.within(layers), self.keep, self.vocab_size)


def trimmed(model: Transformer, keep: Iterable[int]) -> Transformer:
    """The model that gives weight to these tokens only, computing no other logits; weights are shared, the KV is its own.

    As a draft model it is exact like any other: `DraftModel(trimmed(model, frequent(texts, 8192)))`. Raises `InvalidInput`
    for a model whose head is not at hand (packed for the CPU and not tied to its embedding, captured, or of another
    library); `model | VocabTrim(keep)` has the same law there, without saving anything. Goel et al. 2025, "VOCABTRIM"
    (arXiv 2506.22694); Zhao et al. 2025, "FR-Spec" (arXiv 2502.14856).
    """
    tokens, size, executor = sorted(set(keep)), model.vocab_size, model.executor
    require(bool(tokens), "keep is empty: at least one token must be left to draft")
    require(tokens[0] >= 0 and tokens[-1] < size, f"keep names tokens outside this vocabulary of {size}")
    index = torch.tensor(tokens, device=executor.device)
    few = executor.trimmed(index) if isinstance(executor, Eager | Engine) else None
    if few is None:
        raise InvalidInput("the rows of this model's head are not at hand; use model | es.drafting.VocabTrim(keep)")
    return model.on(Scattered(few, index, size))
