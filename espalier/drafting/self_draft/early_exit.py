"""Self-speculation by early exit: the first layers of the target and its head draft, the whole verifies."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from copy import copy
from typing import Any, Protocol, cast

from torch import Tensor

from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.draft_model.draft_model import DraftModel, in_place_of_model, same_vocabulary
from espalier.drafting.lengths.confidence import Confidence, FittedConfidence
from espalier.drafting.lengths.heuristic import Both
from espalier.drafting.policies import Chain, Constant, LengthPolicy, TreePolicy, grow
from espalier.drafting.self_draft.quantised import Afterwards
from espalier.drafting.self_draft.skip_layers import depth, first_layers
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Model, Scorer


def early_exit(model: Model, layer: int, tree: TreePolicy | None = None, length: LengthPolicy | None = None) -> DraftModel:
    """The drafter that is the first `layer` layers of `model` with its final norm and head.

    By default a chain of most probable tokens with Kangaroo's stop: at most six, as long as the most probable token has 0.6.
    The target goes on from what the exit has computed, so each drafted token passes each layer once and there is one cache
    (tested by `test_the_target_goes_on_from_the_exit`). Works best with models trained for it. Elhoushi et al. 2024,
    "LayerSkip" (arXiv 2404.16710); Liu et al. 2024, "Kangaroo" (arXiv 2404.18911), without its trained adapter.

    >>> lm.generate("Hi", drafter=early_exit(lm.model, 8))  # doctest: +SKIP
    """
    require(1 <= layer < depth(model), f"layer={layer}: after 1 … {depth(model) - 1} of the {depth(model)} layers")
    policy = length or Confidence(0.6, most=6)
    policy = Afterwards(policy) if model.capabilities.exits else policy
    return DraftModel(first_layers(model, layer), tree=tree or Chain(kind="deterministic"), length=policy)


class Lens(Protocol):
    """A model that turns residual streams of any layer into logits."""

    def read(self, hidden: Tensor) -> Tensor: ...


class DEL(Drafter):
    """Early exit whose layer and length are chosen before every round, from what each layer would have said so far.

    A pass of the target gives the residual stream after every layer; read through the head it says which token an exit there
    would have drafted. Its agreement with the text, a moving average a_l (`keep` of the old one per token), gives the tokens
    per layer computed: (1 - a^(k+1)) / (1 - a) / (k l + L); the exit l of `exits` and the length k ≤ `most` with the largest
    are used, none if k = 0. Within a round drafting also stops at a token less probable than a threshold fitted per layer.
    The choice looks at settled text only; the target goes on from where an exit has come to, in one cache.
    Entezari Zarch et al. 2025, "DEL" (arXiv 2504.05598).

    Reading costs one row of the head per exit and token of text, so `exits` should be few; by default an eighth, a quarter
    and a half of the layers.

    >>> lm.generate("Hi", drafter=DEL(lm.model))  # doctest: +SKIP
    """

    def __init__(
        self, model: Model, exits: Iterable[int] | None = None, most: int = 8, keep: float = 0.9, tree: TreePolicy | None = None
    ) -> None:
        layers = depth(model)
        exits = sorted(set(exits)) if exits is not None else sorted({max(1, layers // n) for n in (8, 4, 2)})
        require(bool(exits) and exits[0] >= 1 and exits[-1] < layers, f"exits={exits}: after 1 … {layers - 1} of the layers")
        require(most >= 1 and 0 <= keep < 1, f"most={most}, keep={keep}: need most ≥ 1 and 0 ≤ keep < 1")
        if not model.capabilities.lens:
            raise InvalidInput(f"{type(model).__name__} cannot read its layers' hidden states as logits (read(hidden))")
        self.model, self.layers, self.most, self.keep = model, layers, most, keep
        self.tree = tree or Chain(kind="deterministic")
        self.kind = self.tree.kind
        self.want = frozenset({"layers"})
        self.agreement = dict.fromkeys(exits, 0.5)
        self.thresholds = {layer: FittedConfidence(start=0.0, most=most) for layer in exits}
        self._parts: dict[int, Model] = {}
        self._length: LengthPolicy | None = None
        self._target: Scorer = model

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.model, scorer)
        self._target = scorer

    def begin(self, x: Prefix) -> Drafter:
        fresh = copy(self)  # agreement, thresholds and parts are shared
        fresh.tree, fresh._length = self.tree.begin(x), None
        return fresh

    def choose(self) -> tuple[int, int]:
        """(exit layer, draft length) with the most tokens per layer computed; length 0 if drafting does not pay."""
        options = [(layer, k) for layer in self.agreement for k in range(self.most + 1)]
        return max(options, key=lambda option: self.tokens_per_layer(*option))

    def tokens_per_layer(self, layer: int, k: int) -> float:
        """Expected tokens of a round of k drafts from this exit, over the layers that it computes."""
        a = self.agreement[layer]
        return sum(a**i for i in range(k + 1)) / (k * layer + self.layers)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        layer, k = self.choose()
        if k == 0:
            self._length = None
            return Draft(x)
        if layer not in self._parts:
            self._parts[layer] = first_layers(self.model, layer)
        self._length = Both(Constant(k), self.thresholds[layer].begin(x))
        spoken = in_place_of_model(self._target, self._parts[layer], self.kind)
        return (yield from grow(spoken, x, self.tree, self._length, rng))

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if self._length is not None:
            self._length.observe(x, draft, rows)
        path = [0, *draft.accepted(x)]
        said = x.tail(draft.gained(x))[: len(path)]
        for layer in self.agreement if said else ():
            guess = cast(Lens, self.model).read(rows.extras["layers"][path[: len(said)], layer]).argmax(-1).tolist()
            for a, b in zip(guess, said, strict=True):
                self.agreement[layer] = self.keep * self.agreement[layer] + (1 - self.keep) * (a == b)
