"""A transformer whose keys and values are kept in two levels: the target reads both, its own draft the upper one."""

from __future__ import annotations

from torch import Tensor

from espalier.capabilities import Capabilities
from espalier.errors import InvalidInput, require
from espalier.models.executors.eager import Eager
from espalier.models.executors.two_precisions import TwoPrecisions
from espalier.models.kv.draft_scratch import Tail
from espalier.models.kv.two_levels import LevelKV
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.scorer import Model

__all__ = ["TwoLevelTransformer"]


class TwoLevelTransformer(Transformer):
    """`model` with keys and values of 4 + 4 bits, and `group` to twice as many recent rows in full.

    Another model than the one that was given, with the same weights: a row reads 8 bits of what lies further back. Its own
    draft, `model.upper()`, reads 4 bits of the same store. Guarantee: what a row reads depends on its position alone, so rows
    are the same, up to rounding, in any schedule. A token takes 10 bits per number, scales included, and recent ones their
    own number besides. Raises InvalidInput for a model on another executor than the plain torch one, which is the only one that
    reads two levels; so this saves memory, and no time on a CPU.

    The cache of QuantSpec (Tiwari et al. 2025, arXiv 2502.10424). There keys are rounded by channel, here by token: slots are
    shared one by one.

    >>> target = TwoLevelTransformer(es.load(name, eager=True).model)  # doctest: +SKIP
    >>> lm = es.LanguageModel(target, tokenizer, drafter=es.drafting.quantspec(target))  # doctest: +SKIP
    """

    def __init__(self, model: Model, group: int = 64) -> None:
        if not isinstance(model, Transformer) or not isinstance(model.executor, Eager):
            inner = getattr(model, "executor", model)
            raise InvalidInput(
                f"{type(inner).__name__} cannot read keys and values in two levels; the plain torch executor can: "
                "es.load(name, eager=True)"
            )
        require(model._whole is None, "a part of a model reads the whole one's keys and values; give the whole model")
        config, run = model.config, model.executor
        numbers = config.kv_heads * config.head_dim
        kv = LevelKV(run.layers, numbers, run.kv_dtype, run.device, model._budget, config.context, group)
        executor = TwoPrecisions(run, kv.levels, group)
        super().__init__(config, executor, model._budget, model._chunk, kv)
        self.vocab, self._precise = model.vocab, executor

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            extras=super().capabilities.extras,
            hidden=getattr(self.config, "hidden", None),
            layers=self.executor.layers,
            lens=True,
            partial=True,
            chunked=True,
            shared=True,
            levels=True,
        )

    def upper(self) -> Transformer:
        """The draft: the same weights on the upper 4 bits of this store; what it computes itself lies in a scratch tail."""
        draft = Transformer(self.config, self._precise.upper(), self._budget, self._chunk, Tail(self.kv))
        draft.vocab, draft._whole = self.vocab, self
        return draft

    def cached(self, x: Prefix) -> tuple[Tensor, Tensor]:
        raise InvalidInput("keys and values are kept as codes here; ask the model that this one was made of for copies")
