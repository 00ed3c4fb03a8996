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
    of bfloat16's and a quarter of float32's, and says nearly always the same: on one thread of a CPU, SmolLM2-135M writes
    the same text about 1.7 times as fast, in float32 and in bfloat16. For an int8 target there is nothing to gain. The idea
    of QuantSpec (Tiwari et al. 2025, arXiv 2502.10424), without its cache of 4 bits.
    """
    from espalier.models.load import load

    draft = load(name, dtype="int8")
    return DraftModel(draft.model, tree=tree or Chain(kind="deterministic"), length=length or Confidence(0.3, most=6))
