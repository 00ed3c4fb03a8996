"""Trimmed vocabularies: a draft model that speaks only of frequent tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.scorer import Shaper


class VocabTrim(Shaper):
    """Gives weight to the kept tokens only: `DraftModel(model | VocabTrim(frequent(texts, 4096)))`.

    Drafts from it are exact as ever, since q is the trimmed law; what the target says of other tokens comes through the
    residual. This is the law of it for any scorer; `espalier.models.trimmed` also saves the head's work. Goel et al. 2025,
    "VOCABTRIM" (arXiv 2506.22694); Zhao et al. 2025, "FR-Spec" (arXiv 2502.14856).

    >>> VocabTrim([0, 2])(torch.zeros(1, 3), []).tolist()
    [[0.0, -inf, 0.0]]
    """

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
