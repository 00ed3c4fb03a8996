"""Self-speculation by fewer bits: the target's own weights in 8 bits draft, the target verifies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from espalier.drafting.draft import Draft
from espalier.drafting.draft_model.draft_model import DraftModel
from espalier.drafting.lengths.confidence import Confidence
from espalier.drafting.policies import Chain, LengthPolicy, Signals, TreePolicy
from espalier.errors import InvalidInput
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Model

if TYPE_CHECKING:
    from espalier.models.transformer import Transformer


def quantised(
    model: Transformer | Model | str | os.PathLike[str] | None = None,
    tree: TreePolicy | None = None,
    length: LengthPolicy | None = None,
    kv_bits: Literal[4, 16] = 16,
) -> DraftModel:
    """The drafter that is `model` (a loaded one, or a name as for `es.load`) with int8 weights and `kv_bits` keys and values.

    Lossless for a target in any precision, since the target's own rows verify. A loaded model's weights are rounded where
    they are; the draft reads the target's keys and values where they lie, so no prompt is read twice and there is no second
    cache (tested by `test_a_draft_in_8_bits_reads_what_the_model_has_read_where_it_lies`). A pass reads half the bytes of
    bfloat16's weights and a quarter of float32's, and says nearly always the same. With `kv_bits=4` it has a store of its own,
    in which what the target has read is copied in 6 bits each, scales included (`models.fourbit`): no less memory beside the
    target's, and no less time on the CPUs this runs on, where attention waits for arithmetic. Raises InvalidInput for a model
    that would not become coarser, or does not run on the native kernels: weights that are int8 or int4 already, as the
    built-in's are by default, leave only `kv_bits=4`.

    The idea of QuantSpec (Tiwari et al. 2025, arXiv 2502.10424). There the target reads the draft's 4 bits and 4 more, and is
    no longer the model as it was loaded; here it keeps its own keys and values.

    >>> lm = es.load(dtype="bfloat16")  # doctest: +SKIP
    >>> lm.generate("Hi", drafter=quantised(lm.model))  # doctest: +SKIP
    """
    if model is None or isinstance(model, str | os.PathLike):
        from espalier.models.load.open import load

        loaded = load(model, dtype="int8").model
        draft: Model = loaded if kv_bits == 16 else _rounded(loaded, kv_bits)
    else:
        draft = _rounded(model, kv_bits)
    policy = length or Confidence(0.3, most=6)
    borrows = getattr(draft, "borrows", False)
    return DraftModel(draft, tree=tree or Chain(kind="deterministic"), length=Afterwards(policy) if borrows else policy)


class Afterwards(LengthPolicy):
    """Another policy, from the second round on: before the first the target has not read the prompt, so there would be no
    keys and values to go on from, and the draft would read it as well."""

    def __init__(self, inner: LengthPolicy) -> None:
        self.inner, self.most, self.want, self.reads = inner, inner.most, inner.want, inner.reads
        self._read, self.meeting = False, inner.meeting

    @property
    def blind(self) -> bool:
        return self.inner.blind

    def begin(self, x: Prefix) -> LengthPolicy:
        return Afterwards(self.inner.begin(x))

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        return self.inner.plan(x, rng) if self._read else 0

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        return self.inner.go_on(signals, rng)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self._read = True
        self.inner.observe(x, draft, rows)


def _rounded(model: Model, kv_bits: int) -> Model:
    if not model.capabilities.rounded:
        raise InvalidInput(
            f"{type(model).__name__} has no weights that could be rounded to 8 bits; load a model with es.load, or use a "
            "drafter that needs no model, such as es.drafting.PromptLookup()"
        )
    rounded: Model = model.quantised(kv_bits)  # type: ignore[attr-defined]
    return rounded
