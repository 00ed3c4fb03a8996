"""Length policies: each does what its rule says, and none changes the law."""

from __future__ import annotations

import math

import pytest
import torch
from policy_laws import PROMPT, Grown, assert_lossless

import espalier as es
from espalier.drafting import Chain, Constant, KConfig, LengthPolicy
from espalier.drafting.lengths.bandit import EXP3, UCB, BanditDrafter, BanditLength, Play
from espalier.drafting.lengths.confidence import DDD, SVIP, AdaptiveConfidence, Confidence, FittedConfidence, entropy
from espalier.drafting.lengths.heuristic import Both, Heuristic
from espalier.drafting.lengths.thompson import Thompson
from espalier.drafting.policies import Signals, grow
from espalier.drafting.trees.beam_tree import Beam
from espalier.verification import Recursive, Rejection, SampleMatch

V = 3
TARGET = es.models.Table.random(vocab_size=V, depth=2, seed=3)
DRAFT = es.models.Table.random(vocab_size=V, depth=2, seed=8)

LENGTHS = {
    "constant": lambda: Constant(2),
    "heuristic": lambda: Heuristic(start=1, most=2),
    "svip": lambda: SVIP(threshold=0.35, most=2),
    "confidence": lambda: Confidence(0.6, most=2),
    "adaptive confidence": lambda: AdaptiveConfidence(0.6, most=2),
    "fitted confidence": lambda: FittedConfidence(0.5, most=2, least=1),
    "thompson": lambda: Thompson(most=2),
    "thompson calibrated": lambda: Thompson(calibration=0.5, most=2),
    "ucb": lambda: BanditLength((1, 2), UCB),
    "exp3": lambda: BanditLength((0, 2), EXP3),
    "both": lambda: Both(SVIP(0.4), Confidence(0.4, most=2)),
    "ddd": lambda: DDD(-0.7, depths=(1,), width=2, most=2),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_no_length_policy_changes_the_law_of_a_chain(name):
    for verifier in (Rejection(), SampleMatch()) if name in ("svip", "fitted confidence") else (Rejection(),):
        length = 2 if "thompson" in name else 3  # it flips before each token: fewer tokens, fewer outcomes
        assert_lossless(TARGET, lambda: Grown(DRAFT, Chain(), LENGTHS[name]()), verifier, length)


@pytest.mark.parametrize("name", ["svip", "thompson", "ucb", "ddd", "heuristic"])
def test_no_length_policy_changes_the_law_of_a_tree(name):
    tree = (1, 1) if name == "thompson" else (2, 1)
    assert_lossless(TARGET, lambda: Grown(DRAFT, KConfig(tree), LENGTHS[name]()), Recursive())


def test_a_bandit_over_drafters_keeps_the_law():
    arms = lambda: [Grown(DRAFT, Chain(1)), Grown(es.models.Table.random(V, 1, seed=5), Chain(2))]  # noqa: E731
    assert_lossless(TARGET, lambda: BanditDrafter(arms(), EXP3(2, 1.0, 3.0)), Rejection())
    assert_lossless(TARGET, lambda: BanditDrafter(arms()), Rejection(), length=3)
    with pytest.raises(es.InvalidInput, match="one kind"):
        BanditDrafter([es.drafting.PromptLookup(), Grown(DRAFT, Chain(1))])


class LeavesOutTheTrigger(Chain):
    """Wrong on purpose: takes back the token whose confidence was low."""

    def finalize(self, growth):  # type: ignore[no-untyped-def]
        kept, node = es.drafting.Draft(growth.draft.prefixes[0]), 0
        while growth.draft.children[node]:
            child = growth.draft.children[node][0]
            if growth.law(node)[growth.draft.token(child)] < 0.5:
                break
            kept.laws[node] = growth.draft.laws[node]
            node = kept.add(node, growth.draft.token(child))
        return kept


def test_leaving_out_the_token_that_stops_is_caught():
    with pytest.raises(AssertionError, match="should be"):
        assert_lossless(TARGET, lambda: Grown(DRAFT, LeavesOutTheTrigger(2)), Rejection())


def signals(q, **more):  # type: ignore[no-untyped-def]
    q = torch.tensor(q, dtype=torch.float64)
    values = {"depth": 1, "passes": 1, "chosen": float(q.max()), "paths": [0.0], "hidden": None, "prefix": PROMPT, **more}
    return Signals(q=q, **values)


def drafted(model, length, tree=None, seed=0):  # type: ignore[no-untyped-def]
    [draft] = es.run(grow(model, PROMPT, tree or Chain(99), length, es.Rng(seed)))
    return draft


def test_svip_stops_at_once_on_the_uniform_law_and_runs_to_the_cap_on_certainty():
    uniform = es.models.Table(8, 0, lambda _: torch.zeros(8))
    certain = es.models.Table(8, 0, lambda _: torch.tensor([0.0] + [-math.inf] * 7))
    assert len(drafted(uniform, SVIP())) == 1
    assert len(drafted(certain, SVIP())) == 40
    assert entropy(torch.full((8,), 1 / 8)) == pytest.approx(math.log(8))
    h = entropy(torch.tensor([0.9, 0.1]))
    for threshold in (math.sqrt(0.15 * h) - 1e-6, math.sqrt(0.15 * h) + 1e-6):
        assert SVIP(threshold).go_on(signals([0.9, 0.1]), es.Rng(0)) == (threshold**2 >= 0.15 * h)


def test_confidence_looks_at_the_most_probable_token():
    policy = Confidence(0.6)
    assert policy.go_on(signals([0.7, 0.3], chosen=0.3), es.Rng(0))
    assert not policy.go_on(signals([0.5, 0.5]), es.Rng(0))


def spoken(model, length, verifier, tokens, tree=None, target=None):  # type: ignore[no-untyped-def]
    """Runs speculation and returns how many tokens each draft had."""
    drafter, sizes = Grown(model, tree or Chain(99), length), []

    class Watching(es.drafting.Drafter):
        kind = drafter.kind

        def begin(self, x):  # type: ignore[no-untyped-def]
            self.inner = drafter.begin(x)
            return self

        def propose(self, x, rng):  # type: ignore[no-untyped-def]
            draft = yield from self.inner.propose(x, rng)
            sizes.append(len(draft))
            return draft

        def observe(self, x, draft, rows):  # type: ignore[no-untyped-def]
            self.inner.observe(x, draft, rows)

    es.run(es.speculate(target or TARGET, PROMPT, es.stop.budget(tokens), Watching(), verifier, es.Rng(1)))
    return sizes


ALWAYS = {token: es.models.Table(2, 0, lambda _, t=token: torch.tensor([-math.inf if i != t else 0.0 for i in range(2)]))
          for token in (0, 1)}  # fmt: skip


def test_heuristic_grows_on_success_and_shrinks_on_failure():
    sizes = spoken(ALWAYS[0], Heuristic(start=1, most=6), Rejection(), 30, target=ALWAYS[0])
    assert sizes[:5] == [1, 3, 5, 6, 6]
    sizes = spoken(ALWAYS[1], Heuristic(start=4), Rejection(), 8, target=ALWAYS[0])
    assert sizes[:6] == [4, 3, 2, 1, 1, 1]


def test_adaptive_confidence_follows_its_trace():
    """All accepted and full: no change. All rejected: m halves, and the threshold rises by a tenth of a step."""
    policy = AdaptiveConfidence(start=0.5, target=0.9, step=0.01, most=3)
    inner = policy.begin(PROMPT)
    draft = drafted(ALWAYS[0], Constant(3))
    inner.observe(draft.prefixes[3] + 0, draft, None)
    assert (inner.matching, inner.threshold) == (0.5 * 0.9 + 0.5, 0.5)
    inner.observe(PROMPT + 1, draft, None)
    assert inner.matching == pytest.approx(0.475)
    assert inner.threshold == pytest.approx(0.501)
    short = drafted(ALWAYS[0], Constant(1))
    for _ in range(9):
        inner.observe(short.prefixes[1] + 0, short, None)
    assert inner.threshold < 0.501 + 9 * 0.001
    before, inner.matching = inner.threshold, 1.0
    inner.observe(short.prefixes[1] + 0, short, None)
    assert inner.threshold == pytest.approx(before - 0.001)


def test_the_fitted_threshold_is_the_best_of_all_thresholds():
    policy, rng = FittedConfidence(least=1), es.Rng(4)
    pairs = [(rng.categorical(torch.ones(100)) / 100, False) for _ in range(40)]
    pairs += [(min(1.0, 0.3 + rng.categorical(torch.ones(100)) / 120), True) for _ in range(60)]
    policy.learn(pairs)
    hits, misses = [p for p, hit in pairs if hit], [p for p, hit in pairs if not hit]
    grid = min(policy.cost(t / 1000, hits, misses) for t in range(1001))
    assert policy.cost(policy.threshold, hits, misses) <= grid + 1e-12


def test_the_fitted_threshold_hears_of_tokens_up_to_the_first_rejection():
    policy = FittedConfidence(start=0.0, most=4, least=99)
    spoken(ALWAYS[1], policy, Rejection(), 3, target=ALWAYS[0])
    assert list(policy.seen) == [(1.0, False)] * 3
    policy = FittedConfidence(start=0.0, most=4, least=99)
    spoken(ALWAYS[0], policy, Rejection(), 10, target=ALWAYS[0])
    assert list(policy.seen) == [(1.0, True)] * 8


def test_ddd_stops_where_the_beam_has_little_mass():
    tree = Beam(width=2, depth=6, nodes=99)
    flat = es.models.Table(8, 0, lambda _: torch.zeros(8))
    deep = lambda draft: max(map(len, draft.prefixes)) - len(PROMPT)  # noqa: E731
    assert deep(drafted(flat, DDD(math.log(2 / 8**3) + 1e-9, depths=(3, 5), width=2), tree)) == 3
    assert deep(drafted(flat, DDD(math.log(2 / 8**3) - 1e-9, depths=(3, 5), width=2), tree)) == 5
    assert deep(drafted(flat, DDD(-99, depths=(3, 5), width=2), tree)) == 6


@pytest.mark.parametrize("a", [0.3, 0.7])
def test_thompson_learns_the_acceptance_and_drafts_accordingly(a):
    """One-row laws with Σ min(p, q) = a: the posterior mean must come near, and a/(1 - a) tokens be drafted on average."""
    p, q = torch.tensor([a, 1 - a, 0.0]).double(), torch.tensor([a, 0.0, 1 - a]).double()
    target, draft = es.models.Table(3, 0, lambda _: p.log()), es.models.Table(3, 0, lambda _: q.log())
    policy = Thompson(most=50)
    sizes = spoken(draft, policy, Rejection(), 6000, target=target)
    n = policy.alpha + policy.beta
    assert abs(policy.mean - a) < 4 * math.sqrt(a * (1 - a) / n) + 5 / n
    expected, spread = a / (1 - a), math.sqrt(a) / (1 - a)  # of a geometric number of tokens
    later = sizes[len(sizes) // 4 :]
    assert abs(sum(later) / len(later) - expected) < 4 * spread / math.sqrt(len(later)) + 0.1 * expected


def played(bandit, means, plays, seed=0):  # type: ignore[no-untyped-def]
    """The regret after each play on Bernoulli arms."""
    rng, regret, total = es.Rng(seed), [], 0.0
    for _ in range(plays):
        play = bandit.choose(rng)
        total += max(means) - means[play.arm]
        regret.append(total)
        bandit.learn(play, float(rng.flip(means[play.arm])))
    return regret


def test_ucb_regret_grows_slower_than_the_plays():
    runs = [played(UCB(3), [0.2, 0.5, 0.9], 4000, seed) for seed in range(5)]
    early, late = (sum(run[n] for run in runs) / 5 for n in (999, 3999))
    assert late < 0.5 * 4000 * 0.25  # far below the regret of playing at random, (0.7 + 0.4) / 3 per play
    assert late - early < early  # three times as many plays cost less than the first thousand did


def test_ucb_plays_every_arm_once_and_counts_each_arm_by_itself():
    bandit = UCB(3)
    for arm in range(3):
        assert bandit.choose(es.Rng(0)).arm == arm
        bandit.learn(Play(arm), [0.0, 1.0, 0.0][arm])
    bandit.learn(Play(1), 1.0)
    t, n = 4, 2
    width = math.sqrt((1 + n) / n**2 * (1 + 2 * math.log(3 * t**2 * math.sqrt(1 + n))))
    assert bandit.bound(1) == pytest.approx(1.0 + 0.5 * width)
    assert bandit.bound(0) > 0.5 * width  # played less, so its bound is wider than arm 1's


def test_exp3_estimates_are_unbiased():
    """The expectation of every arm's estimated loss over the choice is its true loss, whatever the history."""
    bandit, rewards = EXP3(3, 1.0, 5.0), [2.0, 4.5, 1.0]
    for arm, reward in [(0, 1.5), (1, 4.0), (1, 3.0)]:
        bandit.learn(Play(arm, bandit.probabilities()[arm]), reward)
    before, p = list(bandit.losses), bandit.probabilities()
    assert sum(p) == pytest.approx(1)
    assert len(set(p)) == 3
    expected = [0.0, 0.0, 0.0]
    for arm in range(3):
        bandit.losses = list(before)
        bandit.learn(Play(arm, p[arm]), rewards[arm])
        expected = [e + p[arm] * (now - was) for e, now, was in zip(expected, bandit.losses, before, strict=True)]
    assert expected == pytest.approx([(5 - r) / 4 for r in rewards], abs=1e-12)


def test_exp3_finds_the_better_arm():
    bandit = EXP3(2)
    regret = played(bandit, [0.2, 0.8], 3000)
    assert bandit.counts[1] > 0.85 * 3000
    assert regret[-1] < 0.6 * 3000 / 4


def test_a_bandit_of_lengths_learns_that_longer_drafts_pay_only_if_accepted():
    cost = lambda k: 1 + 0.3 * k  # noqa: E731
    good, bad = BanditLength((0, 4), UCB, cost), BanditLength((0, 4), UCB, cost)
    spoken(ALWAYS[0], good, Rejection(), 3000, target=ALWAYS[0])
    spoken(ALWAYS[1], bad, Rejection(), 1500, target=ALWAYS[0])
    assert good.bandit.counts[1] > 2 * good.bandit.counts[0]
    assert bad.bandit.counts[0] > 2 * bad.bandit.counts[1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Heuristic(start=0),
        lambda: Heuristic(start=9, most=5),
        lambda: SVIP(most=0),
        lambda: SVIP(threshold=-1),
        lambda: Confidence(1.5),
        lambda: DDD(threshold=1.0),
        lambda: Thompson(alpha=0),
        lambda: BanditLength(()),
        lambda: BanditLength((-1, 2)),
        lambda: UCB(0),
        lambda: Both(),
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(es.InvalidInput):
        wrong()


def test_every_policy_of_this_file_is_a_length_policy():
    assert all(isinstance(make(), LengthPolicy) for make in LENGTHS.values())
