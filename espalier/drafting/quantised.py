"""Self-speculation by fewer bits: the target's own weights in 8 bits draft, the target verifies."""

from __future__ import annotations

import os

from espalier.drafting.confidence import Confidence
from espalier.drafting.model import DraftModel
from espalier.drafting.policy import Chain, LengthPolicy, TreePolicy


def quantised(
    name: str | os.PathLike[str] | None = None, tree: TreePolicy | None = None, length: LengthPolicy | None = None
) -> DraftModel:
    """The drafter that is the model `name` (as for `es.load`) with int8 weights and bfloat16 keys and values.

    Lossless for a target in any precision, since the target's own rows verify. A pass of int8 weights reads half the bytes
    of bfloat16's and a quarter of float32's, which is what may make it pay; for an int8 target there is nothing to gain. The
    idea of QuantSpec (Tiwari et al. 2025, arXiv 2502.10424), without its cache of 4 bits.
    """
    from espalier.models.load import load

    draft = load(name, dtype="int8")
    return DraftModel(draft.model, tree=tree or Chain(kind="deterministic"), length=length or Confidence(0.6, most=8))
