"""Length policies that predict: small networks fitted to recorded rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from espalier.drafting.draft import Draft, budget
from espalier.drafting.lengths.confidence import entropy
from espalier.drafting.policies import LengthPolicy, Signals
from espalier.errors import LoadError, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows

Features: TypeAlias = Callable[[Signals], Tensor]


def statistics(signals: Signals) -> Tensor:
    """[8] what DISCO looks at: the five largest probabilities of q, its entropy, the chosen token's probability, the depth."""
    top = torch.zeros(5)
    largest = signals.q.topk(min(5, len(signals.q))).values.float().cpu()
    top[: len(largest)] = largest
    return torch.cat([top, torch.tensor([entropy(signals.q), signals.chosen, float(signals.depth)])])


def hidden(signals: Signals) -> Tensor:
    """[D] what SpecDec++ looks at: the drafter's hidden state that gave q."""
    require(signals.hidden is not None, "the drafter's model gave no hidden state; a policy that reads it must want 'hidden'")
    assert signals.hidden is not None
    return signals.hidden.float().cpu()


@dataclass(frozen=True, eq=False)
class Example:
    """A drafted token: features [F] of the moment it was drafted, and min(1, p/q), the probability that it is accepted."""

    features: Tensor
    label: float


class Recorder(LengthPolicy):
    """Another policy's lengths, with every drafted token noted as an example in `examples`, which all requests share.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> recorder = Recorder(es.drafting.Constant(3))
    >>> drafter, verify = es.drafting.DraftModel(small, length=recorder), es.verification.Rejection()
    >>> [x] = es.run(es.speculate(big, Prefix([0]), es.stop.budget(20), drafter, verify, Rng(0)))
    >>> len(recorder.examples) > 10, fit(recorder.examples, steps=5).logistic
    (True, True)
    """

    def __init__(self, policy: LengthPolicy, features: Features = statistics, examples: list[Example] | None = None) -> None:
        self.policy, self.features, self.meeting = policy, features, policy.meeting
        self.want = policy.want | (frozenset({"hidden"}) if features is hidden else frozenset())
        self.reads = policy.reads
        self.examples: list[Example] = [] if examples is None else examples
        self._round: dict[Prefix, Tensor] = {}

    def begin(self, x: Prefix) -> LengthPolicy:
        return Recorder(self.policy.begin(x), self.features, self.examples)

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        self._round = {}
        return self.policy.plan(x, rng)

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        self._round[signals.prefix] = self.features(signals)
        return self.policy.go_on(signals, rng)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.policy.observe(x, draft, rows)
        for node in range(1, len(draft.prefixes)):
            parent, token = draft.parents[node], draft.token(node)
            if draft.prefixes[node] in self._round and draft.has_row(parent):
                p = float(rows[parent].probs()[token])
                q = float(draft.laws[parent].q[token]) if parent in draft.laws else 1.0
                self.examples.append(Example(self._round[draft.prefixes[node]], min(1.0, p / q)))


class Predictor:
    """features [F] → a number: a perceptron with one hidden layer on standardised features; `fit` and `load` make one.

    With `logistic` the number is a probability.
    """

    def __init__(self, mean: Tensor, scale: Tensor, net: nn.Sequential, logistic: bool) -> None:
        self.mean, self.scale, self.net, self.logistic = mean, scale, net.eval(), logistic

    @torch.no_grad()
    def __call__(self, features: Tensor) -> float:
        out = self.net((features - self.mean) / self.scale)
        return float(out.sigmoid() if self.logistic else out)

    def save(self, path: str | Path) -> None:
        """Writes the predictor to a file."""
        torch.save({"mean": self.mean, "scale": self.scale, "logistic": self.logistic, **self.net.state_dict()}, path)

    @classmethod
    def load(cls, path: str | Path) -> Predictor:
        """The predictor of a file. Raises `LoadError` if it is none."""
        try:
            state = torch.load(path, weights_only=True)
            mean, scale, logistic = state.pop("mean"), state.pop("scale"), state.pop("logistic")
            net = _net(len(mean), len(state["0.bias"]), torch.Generator())
            net.load_state_dict(state)
        except Exception as error:
            raise LoadError(f"{path} is not a predictor that Predictor.save wrote: {error}") from error
        return cls(mean, scale, net, logistic)


def fit(examples: Sequence[Example], weight: float = 6.0, width: int = 32, steps: int = 120, seed: int = 0) -> Predictor:
    """A predictor of the acceptance, by weighted cross-entropy with the soft labels min(1, p/q).

    Rejections weigh `weight` times as much as acceptances (SpecDec++ uses 6). Reproducible from `seed`.
    """
    require(len(examples) >= 2, f"{len(examples)} examples: run a few requests with Recorder first")
    y = torch.tensor([example.label for example in examples])

    def loss(out: Tensor) -> Tensor:
        accept, reject = nn.functional.logsigmoid(out), nn.functional.logsigmoid(-out)
        return -(y * accept + weight * (1 - y) * reject).mean()

    return _fit(torch.stack([example.features for example in examples]), loss, width, steps, seed, logistic=True)


def fit_length(
    features: Sequence[Tensor], lengths: Sequence[int], penalty: float = 2.0, width: int = 32, steps: int = 120, seed: int = 0
) -> Predictor:
    """A predictor of how many tokens will be accepted: |error| is least, and counts `penalty` times where it is too short."""
    require(len(features) == len(lengths) >= 2, f"{len(features)} features for {len(lengths)} lengths; as many are needed, ≥ 2")
    y = torch.tensor([float(length) for length in lengths])

    def loss(out: Tensor) -> Tensor:
        return torch.where(out < y, penalty * (y - out), out - y).mean()

    return _fit(torch.stack(list(features)), loss, width, steps, seed, logistic=False)


def _fit(x: Tensor, loss: Callable[[Tensor], Tensor], width: int, steps: int, seed: int, logistic: bool) -> Predictor:
    mean, scale = x.mean(0), x.std(0).clamp(min=1e-6)
    net, x = _net(x.shape[1], width, torch.Generator().manual_seed(seed)), (x - mean) / scale
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-2, weight_decay=1e-4)
    with torch.enable_grad():
        for _ in range(steps):
            optimiser.zero_grad()
            loss(net(x)[:, 0]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return Predictor(mean, scale, net, logistic)


def _net(features: int, width: int, generator: torch.Generator) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, 1))
    for layer in (net[0], net[2]):
        assert isinstance(layer, nn.Linear)
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
        nn.init.zeros_(layer.bias)
    return net


class SpecDecPP(LengthPolicy):
    """Goes on while the probability that any token so far is rejected, 1 - Π a_i, is at most `threshold`.

    `acceptance(features)` gives a_i = P(token i is accepted | those before it are); at least `least` and at most `most`
    passes. A threshold on that probability is the optimal rule of the decision process. Huang et al. 2024, "SpecDec++"
    (arXiv 2405.19715).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Chain, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> policy = SpecDecPP(lambda f: float(f[6]), statistics, least=1)  # takes q for the acceptance
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Chain(kind="deterministic"), policy, es.Rng(0)))
    >>> len(draft)
    3
    """

    def __init__(
        self,
        acceptance: Callable[[Tensor], float],
        features: Features = hidden,
        threshold: float = 0.7,
        least: int = 2,
        most: int = 20,
    ) -> None:
        require(0 <= threshold <= 1, f"threshold={threshold}: a probability")
        require(1 <= least <= most, f"least={least}, most={most}: need 1 ≤ least ≤ most")
        self.acceptance, self.features, self.threshold, self.least, self.most = acceptance, features, threshold, least, most
        self.want = frozenset({"hidden"}) if features is hidden else frozenset()
        self._all_accepted = 1.0

    def begin(self, x: Prefix) -> LengthPolicy:
        return SpecDecPP(self.acceptance, self.features, self.threshold, self.least, self.most)

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        self._all_accepted = 1.0
        return self.most

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        self._all_accepted *= self.acceptance(self.features(signals))
        return signals.passes < self.least or 1 - self._all_accepted <= self.threshold


class DISCO(LengthPolicy):
    """Goes on while the predicted acceptance of the last token is at least `threshold`; at most `most` passes.

    Mamou et al. 2024, "Dynamic speculation length" (arXiv 2405.04304).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Chain, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Chain(kind="deterministic"), DISCO(lambda f: float(f[6])), es.Rng(0)))
    >>> len(draft)
    5
    """

    def __init__(
        self, acceptance: Callable[[Tensor], float], features: Features = statistics, threshold: float = 0.5, most: int = 20
    ) -> None:
        require(0 <= threshold <= 1, f"threshold={threshold}: a probability")
        budget(most=most)
        self.acceptance, self.features, self.threshold, self.most = acceptance, features, threshold, most
        self.want = frozenset({"hidden"}) if features is hidden else frozenset()

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        return self.acceptance(self.features(signals)) >= self.threshold


class AdaEAGLE(LengthPolicy):
    """As many passes as `predict(token, hidden)` says will be accepted, rounded, from 0 to `most`; `first` in the first round.

    `token` is the last token of the text, `hidden` [D] the target's hidden state that gave it. With greedy decoding the best
    length is the number of tokens that will be accepted. `record` collects (hidden, accepted tokens) of every round that
    drafted `most` tokens, from which `fit_length` makes a prediction. Zhang et al. 2024, "AdaEAGLE" (arXiv 2412.18910).

    >>> AdaEAGLE(lambda token, hidden: 3.2, first=5).plan(Prefix([1]), Rng(0))
    5
    """

    reads = frozenset({"hidden"})

    def __init__(
        self,
        predict: Callable[[int, Tensor], float],
        most: int = 10,
        first: int = 5,
        record: list[tuple[Tensor, int]] | None = None,
    ) -> None:
        require(most >= 1 and 0 <= first <= most, f"most={most}, first={first}: need most ≥ 1 and 0 ≤ first ≤ most")
        self.predict, self.most, self.first, self.record = predict, most, first, record
        self._hidden: Tensor | None = None

    def begin(self, x: Prefix) -> LengthPolicy:
        return AdaEAGLE(self.predict, self.most, self.first, self.record)

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        if self._hidden is None:
            return self.first
        return max(0, min(self.most, round(self.predict(x.last, self._hidden))))

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        path = [0, *draft.accepted(x)]
        if self.record is not None and self._hidden is not None and len(draft) >= self.most:
            self.record.append((self._hidden, len(path) - 1))
        self._hidden = rows.extras["hidden"][path[-1]].float().cpu()
