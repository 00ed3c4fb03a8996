"""A model whose head knows only some tokens: the drafts of VocabTrim, at the price of the smaller head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.models.eager import Eager, Executor
from espalier.models.native import Engine
from espalier.models.packing import Pass
from espalier.models.transformer import Transformer


class SmallHead:
    """Returns an executor that is `inner` but for its head: `rows` [m, D] of it, for the tokens `keep` [m]; others get -inf."""

    def __init__(self, inner: Executor, rows: Tensor, keep: Tensor, vocab_size: int, cap: float | None) -> None:
        self.inner, self.rows, self.keep, self.vocab_size, self.cap = inner, rows, keep, vocab_size, cap
        self.layers, self.kv_dtype, self.device = inner.layers, inner.kv_dtype, inner.device

    def run(self, rows: Pass, keys: Tensor, values: Tensor, taps: bool) -> tuple[Tensor, Tensor | None]:
        return self.inner.run(rows, keys, values, taps)

    @torch.inference_mode()
    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        if norm:  # a look at inner layers: rare, so the whole head may serve
            few = self.inner.read(hidden, norm)[:, self.keep]
        else:
            few = F.linear(hidden.to(self.rows.dtype), self.rows).float()
            few = (few / self.cap).tanh() * self.cap if self.cap else few
        logits = torch.full((len(hidden), self.vocab_size), -torch.inf, device=few.device)
        return logits.index_copy(-1, self.keep, few)

    def partial(self, layers: Sequence[int]) -> SmallHead:
        return SmallHead(self.inner.partial(layers), self.rows, self.keep, self.vocab_size, self.cap)


def trimmed(model: Transformer, keep: Iterable[int]) -> Transformer:
    """The model that gives weight to these tokens only, computing no other logits; weights are shared, the KV is its own.

    As a draft model it is exact like any other: `DraftModel(trimmed(model, frequent(texts, 8192)))`. Raises `InvalidInput`
    for a model whose head is not at hand (packed for the CPU and not tied to its embedding, captured, or of another
    library); `model | VocabTrim(keep)` has the same law there, without saving anything. Goel et al. 2025, "VOCABTRIM"
    (arXiv 2506.22694); Zhao et al. 2025, "FR-Spec" (arXiv 2502.14856).
    """
    tokens, size = sorted(set(keep)), model.vocab_size
    require(bool(tokens), "keep is empty: at least one token must be left to draft")
    require(tokens[0] >= 0 and tokens[-1] < size, f"keep names tokens outside this vocabulary of {size}")
    executor = model.executor
    if not isinstance(executor, Eager | Engine) or (head := executor.head) is None:
        raise InvalidInput("the rows of this model's head are not at hand; use model | es.drafting.VocabTrim(keep)")
    index = torch.tensor(tokens, device=head.device)
    small = SmallHead(executor, head[index], index, size, executor.config.logit_cap)
    few = Transformer(model.config, small, model._budget, model._chunk)
    few.vocab = model.vocab
    return few
