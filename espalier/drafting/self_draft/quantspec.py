"""Self-speculation on one store in two precisions: the draft reads 4 bits of keys and values, the target 4 and 4 more."""

from __future__ import annotations

from typing import Protocol, cast

from espalier.drafting.draft_model.draft_model import DraftModel
from espalier.drafting.lengths.confidence import Confidence
from espalier.drafting.policies import Chain, LengthPolicy, TreePolicy
from espalier.drafting.self_draft.quantised import Afterwards
from espalier.errors import InvalidInput
from espalier.scorer import Model

__all__ = ["quantspec"]


class TwoLevels(Protocol):
    """A model that shows itself on the upper level of its keys and values."""

    def upper(self) -> Model: ...


def quantspec(model: Model, tree: TreePolicy | None = None, length: LengthPolicy | None = None) -> DraftModel:
    """The drafter that is `model` on the upper 4 bits of its own keys and values; `model` itself reads 4 + 4 bits.

    `model` keeps them in two levels: `es.models.TwoLevelTransformer(es.load(name, eager=True).model)`. There is one store:
    nothing is copied, recent rows are in full for both, and a rejected draft shorter than `group` - 1 touches recent rows only
    (tested by `test_target_and_draft_read_one_store`). Lossless for that model, whose cache has 8 bits, not for the one it was
    made of. By default a chain of at most six, as long as the most probable token has 0.3. Raises InvalidInput for a model
    with one level.

    Tiwari et al. 2025, "QuantSpec" (arXiv 2502.10424). There the draft has weights of 4 bits too and kernels that read less;
    here it has the target's weights and the plain torch executor, so memory is saved, and no time on a CPU.

    >>> target = es.models.TwoLevelTransformer(es.load(name, eager=True).model)  # doctest: +SKIP
    >>> es.LanguageModel(target, tokenizer).generate("Hi", drafter=quantspec(target))  # doctest: +SKIP
    """
    if not model.capabilities.levels:
        raise InvalidInput(
            f"{type(model).__name__} keeps keys and values in one precision, so a draft cannot read a coarser one of the same "
            "store; write quantspec(es.models.TwoLevelTransformer(model)) for a model of es.load(name, eager=True)"
        )
    policy = length or Confidence(0.3, most=6)
    return DraftModel(cast(TwoLevels, model).upper(), tree=tree or Chain(kind="deterministic"), length=Afterwards(policy))
