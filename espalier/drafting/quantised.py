"""Self-speculation by fewer bits: the target's own weights in 8 bits draft, the target verifies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from espalier.drafting.confidence import Confidence
from espalier.drafting.model import DraftModel
from espalier.drafting.policy import Chain, LengthPolicy, TreePolicy
from espalier.errors import InvalidInput
from espalier.scorer import Model

if TYPE_CHECKING:
    from espalier.models.transformer import Transformer


def quantised(
    model: Transformer | Model | str | os.PathLike[str] | None = None,
    tree: TreePolicy | None = None,
    length: LengthPolicy | None = None,
) -> DraftModel:
    """The drafter that is `model` (a loaded one, or a name as for `es.load`) with int8 weights and bfloat16 keys and values.

    Lossless for a target in any precision, since the target's own rows verify. A loaded model's weights are rounded where they
    are; the draft copies the keys and values of what the target has read, so no prompt is read twice. A pass reads half the
    bytes of bfloat16's and a quarter of float32's, and says nearly always the same. Raises InvalidInput for a model whose
    weights are int8 already, or that does not run on the native kernels.

    The idea of QuantSpec (Tiwari et al. 2025, arXiv 2502.10424) without its cache of 4 + 4 bits. That cache saves bytes where
    bytes are what attention waits for; on the CPUs this runs on it waits for arithmetic, unpacking would add to that, and
    a verifier that reads 8 bits would not be lossless for the model as it was loaded.

    >>> lm.generate("Hi", drafter=quantised(lm.model))  # doctest: +SKIP
    """
    if model is None or isinstance(model, str | os.PathLike):
        from espalier.models.load import load

        draft: Model = load(model, dtype="int8").model
    elif hasattr(model, "quantised"):
        draft = model.quantised()
    else:
        raise InvalidInput(
            f"{type(model).__name__} has no weights that could be rounded to 8 bits; load a model with es.load, or use a "
            "drafter that needs no model, such as es.drafting.PromptLookup()"
        )
    return DraftModel(draft, tree=tree or Chain(kind="deterministic"), length=length or Confidence(0.3, most=6))
