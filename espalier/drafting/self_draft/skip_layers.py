"""Self-speculation by skipped layers: which layers of the target to leave out so that it drafts for itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast

import torch
from torch import Tensor

from espalier.drafting.draft_model.draft_model import DraftModel
from espalier.drafting.lengths.confidence import AdaptiveConfidence
from espalier.drafting.policies import Chain, LengthPolicy, TreePolicy
from espalier.drafting.self_draft.quantised import Afterwards
from espalier.errors import InvalidInput, require
from espalier.models.executors.sublayers import Skipped, Sublayers, left
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.scorer import Model

Skip: TypeAlias = frozenset[Skipped]


class Shared(Protocol):
    """A model whose parts read its own keys and values where they lie."""

    def sharing(self, layers: Iterable[int | Sublayers]) -> Model: ...
    def exit(self, layer: int) -> Model: ...


class Layered(Protocol):
    """A model of which some layers can be run alone; `partial` shares the weights and has keys and values of its own."""

    def partial(self, layers: Sequence[int]) -> Model: ...


def depth(model: Model) -> int:
    """How many layers a model has. Raises InvalidInput if it cannot run some of them alone."""
    layers = model.capabilities.layers
    if not model.capabilities.partial or layers is None:
        raise InvalidInput(
            f"{type(model).__name__} cannot run some of its layers alone, so it cannot draft for itself; load it with es.load, "
            "or use a drafter that needs no model, such as es.drafting.PromptLookup()"
        )
    return layers


def part(model: Model, layers: Iterable[int]) -> Model:
    """The model that runs only these layers, in order, with the same vocabulary."""
    layers, count = sorted(set(layers)), depth(model)
    require(
        bool(layers) and layers[0] >= 0 and layers[-1] < count, f"layers={layers}: a choice of 0 … {count - 1}, at least one"
    )
    small = cast(Layered, model).partial(layers)
    small.vocab = model.vocab
    return small


def first_layers(model: Model, layer: int) -> Model:
    """The first `layer` layers with the head; the whole model goes on from what they computed, where it can."""
    if not model.capabilities.exits:
        return part(model, range(layer))
    return cast(Shared, model).exit(layer)


def without(model: Model, skip: Iterable[Skipped]) -> Model:
    """The model without these layers or halves of layers, (5, "attention") and (5, "mlp").

    Where it can, it reads the keys and values of the whole one for settled tokens. Raises InvalidInput for halves where a model
    cannot leave them out.
    """
    skip, count, able = set(skip), depth(model), model.capabilities
    kept = left(count, skip)
    if able.shared and skip and (able.sublayers or all(each.whole for each in kept)):
        small: Model = cast(Shared, model).sharing(kept)
    elif all(each.whole for each in kept):
        return part(model, [each.layer for each in kept])
    else:
        raise InvalidInput(
            f"{type(model).__name__} cannot leave out attention or MLP of a layer alone; skip whole layers, by their numbers"
        )
    small.vocab = model.vocab
    return small


def units(model: Model, apart: bool | None = None) -> list[Skipped]:
    """What may be skipped: attention and MLP of all layers but the first and the last, apart where the model can.

    `apart` False: whole layers. True: InvalidInput where the model cannot.
    """
    inner, able = range(1, depth(model) - 1), model.capabilities.sublayers
    if apart and not able:
        raise InvalidInput(
            f"{type(model).__name__} cannot leave out attention or MLP of a layer alone; write apart=False, or nothing"
        )
    halves: list[Skipped] = [(layer, half) for layer in inner for half in ("attention", "mlp")]
    return halves if able and apart is not False else list(inner)


def skip_layers(
    model: Model,
    skip: Iterable[Skipped],
    tree: TreePolicy | None = None,
    length: LengthPolicy | None = None,
) -> DraftModel:
    """The drafter that is `model` without `skip`, which may come from `best_skip`: layers, or halves of them (5, "attention").

    By default a chain of most probable tokens, as long as the adaptive confidence of Draft & Verify says. For drawn drafts
    give `tree=Chain(kind="with replacement")`. The layers that are left read the target's keys and values for settled tokens
    where they lie and keep drafted ones in a scratch tail, so there is no second cache (tested by
    `test_skipped_layers_read_the_targets_keys_and_values`). On SmolLM2-135M the most probable token is the target's 0.48 of the
    time at 3 of 30 layers left out (0.42 with a cache of their own), and 0.69 with as many halves apart. Zhang et al. 2023,
    "Draft & Verify" (arXiv 2309.08168).

    >>> lm.generate("Hi", drafter=skip_layers(lm.model, {5, 6, (11, "attention")}))  # doctest: +SKIP
    """
    small, policy = without(model, skip), length or AdaptiveConfidence(0.8)
    policy = Afterwards(policy) if getattr(small, "borrows", False) else policy
    return DraftModel(small, tree=tree or Chain(kind="deterministic"), length=policy)


@dataclass(frozen=True, slots=True)
class Trial:
    """A set of skipped layers, the acceptance and the speed (tokens per time of a pass of the whole model) it would give."""

    skip: Skip
    acceptance: float
    speed: float


def speed(acceptance: float, cost: float, most: int = 12) -> tuple[float, int]:
    """(tokens per time of a target pass, draft length) at the best draft length up to `most`; 0 drafts give 1 per pass.

    `cost`: draft pass over target pass. (1 - a^(k+1)) / ((1 - a) (k cost + 1)): Leviathan et al. 2023 (arXiv 2211.17192).
    """
    return max(((sum(acceptance**i for i in range(k + 1)) / (k * cost + 1), k) for k in range(most + 1)), key=lambda s: s[0])


class SkipSearch:
    """Trials of skip sets on sample texts. The first and the last layer are kept; attention and MLP of the others are skipped
    apart where the model can (`apart`).

    A trial is one pass of the part over the samples: with `greedy` its acceptance is the share of positions where both say
    the same token first, else the mean of Σ min(p, q). `cost(kept layers)` is the time of a draft pass over that of a pass
    of the whole model, in proportion to the layers unless measured; a half is half a layer.
    """

    def __init__(
        self,
        model: Model,
        samples: Iterable[Sequence[int]],
        greedy: bool = True,
        cost: Callable[[float], float] | None = None,
        most: int = 12,
        apart: bool | None = None,
    ) -> None:
        self.model, self.greedy, self.most, self.layers = model, greedy, most, depth(model)
        self.cost = cost if cost is not None else lambda kept: kept / self.layers
        self.prefixes = [x for sample in samples for x in chain(sample)]
        require(bool(self.prefixes), "no sample has two tokens; a skip set is judged on the model's own texts")
        self.inner = units(model, apart)
        self.trials: dict[Skip, Trial] = {}
        self._target = self._rows(model)

    def _rows(self, model: Model) -> Tensor:
        asked = [x if x.parent is None else x.parent + x.last for x in self.prefixes]  # what is above is as the target read it
        asked = self.prefixes if model is self.model else asked
        return torch.log_softmax(model.forward(asked, frozenset()).logits.double(), -1)

    def trial(self, skip: Iterable[Skipped]) -> Trial:
        """The trial of a set; each set is tried once."""
        skip = frozenset(skip)
        if skip not in self.trials:
            q = self._rows(without(self.model, skip)) if skip else self._target
            agree = (
                (q.argmax(-1) == self._target.argmax(-1)).double()
                if self.greedy
                else torch.minimum(q, self._target).exp().sum(-1)
            )
            acceptance = float(agree.mean())
            self.trials[skip] = Trial(
                skip,
                acceptance,
                speed(
                    acceptance, self.cost(self.layers - sum(0.5 if isinstance(each, tuple) else 1 for each in skip)), self.most
                )[0],
            )
        return self.trials[skip]

    def best(self) -> Trial:
        """The fastest of all sets tried."""
        return max(self.trials.values(), key=lambda trial: trial.speed)

    def by_greed(self, trials: int) -> Trial:
        """Skips one layer more at a time, the one after which the model is fastest, until all inner layers are skipped."""
        now = self.trial(())
        while len(now.skip) < len(self.inner) and len(self.trials) < trials:
            left = [layer for layer in self.inner if layer not in now.skip]
            now = max((self.trial(now.skip | {layer}) for layer in left), key=lambda trial: trial.speed)
        return self.best()

    def by_bayes(self, trials: int, rng: Rng, start: int = 8) -> Trial:
        """`start` random sets, then the sets with the largest expected improvement under a Gaussian process."""
        self.trial(())
        while len(self.trials) < min(trials, 2 ** len(self.inner)):
            if len(self.trials) <= start:
                self.trial(random_skip(self.inner, rng))
                continue
            options = [random_skip(self.inner, rng) for _ in range(32)] + list(neighbours(self.best().skip, self.inner))
            new = [skip for skip in dict.fromkeys(options) if skip not in self.trials]
            if new:
                self.trial(most_promising(new, {s: t.speed for s, t in self.trials.items()}, self.layers))
        return self.best()


def best_skip(
    model: Model,
    samples: Iterable[Sequence[int]],
    method: Literal["bayes", "greedy"] = "bayes",
    trials: int = 200,
    rng: Rng | None = None,
    greedy: bool = True,
    cost: Callable[[float], float] | None = None,
    apart: bool | None = None,
) -> Trial:
    """The fastest set of layers to skip that a search of this many trials finds on sample texts (lists of tokens).

    Where the model can, attention and MLP of a layer are skipped apart (`apart`; False: whole layers only).

    Zhang et al. 2023, "Draft & Verify" (arXiv 2309.08168).

    >>> best_skip(lm.model, [lm.generate("Hi").tokens], trials=50).skip  # doctest: +SKIP
    """
    require(method in ("bayes", "greedy"), f"method={method!r}: 'bayes' or 'greedy'")
    require(trials >= 1, f"trials={trials}: at least one")
    search = SkipSearch(model, samples, greedy, cost, apart=apart)
    return search.by_bayes(trials, rng or Rng(0)) if method == "bayes" else search.by_greed(trials)


def chain(tokens: Sequence[int]) -> list[Prefix]:
    """The prefixes of a text, without the empty one and the whole: the positions whose next token is known."""
    x, prefixes = Prefix(tokens[:1]), list[Prefix]()
    for token in tokens[1:]:
        prefixes.append(x)
        x = x + token
    return prefixes


def random_skip(inner: Sequence[Skipped], rng: Rng, ratio: float | None = None) -> Skip:
    """A random set of inner layers: each with one random probability, or `ratio` of them."""
    if ratio is None:
        share = (rng.categorical(torch.ones(9)) + 1) / 10
        return frozenset(layer for layer in inner if rng.flip(share))
    weights, chosen = torch.ones(len(inner)), list[Skipped]()
    for _ in range(round(ratio * len(inner))):
        at = rng.categorical(weights)
        weights[at] = 0
        chosen.append(inner[at])
    return frozenset(chosen)


def neighbours(skip: Skip, inner: Iterable[Skipped]) -> Iterable[Skip]:
    """The sets that differ in one layer."""
    return (skip ^ {layer} for layer in inner)


def most_promising(options: Sequence[Skip], known: dict[Skip, float], layers: int, scale: float = 0.25) -> Skip:
    """Of the options, the set with the largest expected improvement on the best known value.

    A Gaussian process with the kernel exp(-(share of layers that differ) / scale) on standardised values.
    """
    y = torch.tensor(list(known.values()), dtype=torch.float64)
    mean, spread = y.mean(), y.std(correction=0).clamp(min=1e-9)
    y = (y - mean) / spread
    tried, new = (_bits(sets, layers) for sets in (list(known), options))
    kernel = torch.exp(-torch.cdist(tried, tried, p=1) / (2 * layers * scale)) + 1e-4 * torch.eye(len(y), dtype=torch.float64)
    cross = torch.exp(-torch.cdist(new, tried, p=1) / (2 * layers * scale))
    solved = torch.linalg.solve(kernel, torch.cat([y[:, None], cross.T], 1))
    mu, sigma = cross @ solved[:, 0], (1 - (cross * solved[:, 1:].T).sum(1)).clamp(min=1e-12).sqrt()
    z = (mu - y.max()) / sigma
    density, below = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), torch.special.ndtr(z)
    return options[int((sigma * (z * below + density)).argmax())]


def _bits(sets: Sequence[Skip], layers: int) -> Tensor:
    bits = torch.zeros(len(sets), layers, 2, dtype=torch.float64)
    for row, skip in enumerate(sets):
        for each in skip:
            layer, halves = (each[0], int(each[1] == "mlp")) if isinstance(each, tuple) else (each, slice(None))
            bits[row, layer, halves] = 1
    return bits.flatten(1)
