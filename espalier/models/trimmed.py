"""A model whose head knows only some tokens: the drafts of VocabTrim, at the price of the smaller head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.models.eager import Eager, Executor
from espalier.models.native import Engine
from espalier.models.packing import Pass
from espalier.models.transformer import Transformer


class Scattered:
    """An executor whose logits are those of `few`, a head of m rows, at the tokens `keep` [m], and -inf elsewhere."""

    def __init__(self, few: Executor, keep: Tensor, vocab_size: int) -> None:
        self.few, self.keep, self.vocab_size = few, keep, vocab_size
        self.layers, self.kv_dtype, self.device = few.layers, few.kv_dtype, few.device
        self.kind = f"{getattr(few, 'kind', few.kv_dtype)}, {len(keep)} tokens"

    def run(self, rows: Pass, keys: Tensor, values: Tensor, taps: bool) -> tuple[Tensor, Tensor | None]:
        return self.few.run(rows, keys, values, taps)

    @torch.inference_mode()
    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        few = self.few.read(hidden, norm)
        return torch.full((len(hidden), self.vocab_size), -torch.inf, device=few.device).index_copy(-1, self.keep, few)

    def partial(self, layers: Sequence[int]) -> Scattered:
        return Scattered(self.few.partial(layers), self.keep, self.vocab_size)


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
