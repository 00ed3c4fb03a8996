"""Length policies and drafters chosen by bandits: arms whose reward is known only when they are played."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from espalier.drafting.compose import Several
from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.policies import LengthPolicy
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask


@dataclass(frozen=True, slots=True)
class Play:
    """An arm that was chosen, and the probability with which it was."""

    arm: int
    probability: float = 1.0


class Bandit(ABC):
    """Which of `arms` arms to play next. Rewards lie between `low` and `high`."""

    def __init__(self, arms: int, low: float = 0.0, high: float = 1.0) -> None:
        require(arms >= 1, f"arms={arms}: a bandit needs at least one arm")
        require(low < high, f"low={low}, high={high}: rewards lie in an interval")
        self.arms, self.low, self.high = arms, low, high
        self.counts = [0] * arms

    @abstractmethod
    def choose(self, rng: Rng) -> Play:
        """The arm to play."""

    @abstractmethod
    def learn(self, play: Play, reward: float) -> None:
        """What a play gave; other plays may have been chosen or learned in between."""


class UCB(Bandit):
    """Every arm once, then the one with the largest upper confidence bound; each arm's bound uses its own count.

    Bound: mean + (high - low)/2 · sqrt((1 + n)/n² · (1 + 2 log(M t² sqrt(1 + n)/delta))), n plays of the arm, M arms, t plays
    in all. Hou et al. 2025, "BanditSpec" (arXiv 2505.15141), UCBSpec.

    >>> bandit = UCB(2)
    >>> for _ in range(100):
    ...     play = bandit.choose(Rng(0))
    ...     bandit.learn(play, 0.9 if play.arm == 1 else 0.1)
    >>> bandit.counts[1] > bandit.counts[0]
    True
    """

    def __init__(self, arms: int, low: float = 0.0, high: float = 1.0, delta: float = 1.0) -> None:
        super().__init__(arms, low, high)
        require(0 < delta <= 1, f"delta={delta}: a probability above 0")
        self.delta, self.sums = delta, [0.0] * arms

    def choose(self, rng: Rng) -> Play:
        return Play(max(range(self.arms), key=self.bound))

    def bound(self, arm: int) -> float:
        """The upper confidence bound of an arm; infinite if it has not been played."""
        n, t = self.counts[arm], sum(self.counts)
        if n == 0:
            return math.inf
        width = (1 + n) / n**2 * (1 + 2 * math.log(self.arms * t**2 * math.sqrt(1 + n) / self.delta))
        return self.sums[arm] / n + (self.high - self.low) / 2 * math.sqrt(width)

    def learn(self, play: Play, reward: float) -> None:
        self.counts[play.arm] += 1
        self.sums[play.arm] += reward


class EXP3(Bandit):
    """An arm drawn with probability ∝ exp(-eta_t · its estimated total loss), eta_t = sqrt(log M / (t M)).

    The loss of a play, (high - reward)/(high - low), is divided by the probability of that play, so the estimate is unbiased
    for every arm. Works against changing rewards. Hou et al. 2025, "BanditSpec" (arXiv 2505.15141), EXP3Spec.

    >>> bandit, rng = EXP3(2), Rng(0)
    >>> for _ in range(100):
    ...     play = bandit.choose(rng)
    ...     bandit.learn(play, 0.9 if play.arm == 1 else 0.1)
    >>> bandit.probabilities()[1] > 0.8
    True
    """

    def __init__(self, arms: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(arms, low, high)
        self.losses = [0.0] * arms

    def probabilities(self) -> list[float]:
        """The probability of each arm at the next play."""
        t = sum(self.counts) + 1
        losses = torch.tensor(self.losses, dtype=torch.float64)
        p: list[float] = torch.softmax(-math.sqrt(math.log(self.arms) / (t * self.arms)) * losses, 0).tolist()
        return p

    def choose(self, rng: Rng) -> Play:
        p = self.probabilities()
        arm = rng.categorical(torch.tensor(p, dtype=torch.float64))
        return Play(arm, p[arm])

    def learn(self, play: Play, reward: float) -> None:
        self.losses[play.arm] += (self.high - reward) / (self.high - self.low) / play.probability
        self.counts[play.arm] += 1


class BanditLength(LengthPolicy):
    """The number of passes as the arm of a bandit: `arms[i]` passes, 0 for none.

    The reward is the tokens of a round over what it costs: `cost(passes)`, 1 for every round unless given; with the measured
    time of a round it is speed. The bandit is shared by all requests.

    >>> policy = BanditLength((1, 2, 4), UCB)
    >>> policy.bandit.arms, policy.bandit.high
    (3, 5.0)
    """

    def __init__(
        self,
        arms: Sequence[int] = (1, 2, 4, 8),
        bandit: Callable[[int, float, float], Bandit] = UCB,
        cost: Callable[[int], float] = lambda passes: 1.0,
    ) -> None:
        require(len(arms) >= 1 and all(k >= 0 for k in arms), f"arms={tuple(arms)}: numbers of passes, none negative")
        self.lengths, self.cost = tuple(arms), cost
        rewards = [(1 / cost(k), (k + 1) / cost(k)) for k in arms]
        low, high = min(low for low, _ in rewards), max(high for _, high in rewards)
        self.bandit = bandit(len(arms), low, high if high > low else low + 1)

    def begin(self, x: Prefix) -> LengthPolicy:
        return _BanditLength(self)


class _BanditLength(LengthPolicy):
    """One request's view: the arm it plays."""

    def __init__(self, shared: BanditLength) -> None:
        self.shared = shared
        self._play: Play | None = None

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        self._play = self.shared.bandit.choose(rng)
        return self.shared.lengths[self._play.arm]

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if self._play is not None:
            gained = draft.gained(x)
            cost = self.shared.cost(self.shared.lengths[self._play.arm])
            self.shared.bandit.learn(self._play, gained / cost)
            self._play = None


class BanditDrafter(Several):
    """One of several drafters per round, chosen by a bandit that is shared by all requests; the reward is tokens per pass.

    `most` is the longest draft of any. All drafters must be of one kind, since one verifier reads them all. The choice looks
    at past rounds only, so every verifier's guarantee stays. Hou et al. 2025 (arXiv 2505.15141).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> arms = [es.drafting.PromptLookup(), es.drafting.TokenRecycling(nodes=8)]
    >>> drafter, verify = BanditDrafter(arms), es.verification.SampleMatch()
    >>> [x] = es.run(es.speculate(small, es.Prefix([0]), es.stop.budget(20), drafter, verify, es.Rng(0)))
    >>> all(drafter.bandit.counts)
    True
    """

    def __init__(self, drafters: Sequence[Drafter], bandit: Bandit | None = None, most: int = 8) -> None:
        super().__init__(*drafters)
        self.most = most
        self.bandit = bandit if bandit is not None else UCB(len(drafters), 1.0, most + 1.0)
        require(self.bandit.arms == len(drafters), f"the bandit has {self.bandit.arms} arms for {len(drafters)} drafters")
        self._play: Play | None = None

    def begin(self, x: Prefix) -> Drafter:
        return BanditDrafter([drafter.begin(x) for drafter in self.drafters], self.bandit, self.most)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        self._play = self.bandit.choose(rng)
        return (yield from self.drafters[self._play.arm].propose(x, rng))

    def join(self, draft: Draft) -> None:
        if self._play is not None:
            self.drafters[self._play.arm].join(draft)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        super().observe(x, draft, rows)
        if self._play is not None:
            self.bandit.learn(self._play, float(min(draft.gained(x), self.most + 1)))
            self._play = None
