"""Rules and drafters that are wrong in the ways that released ones were: the law test must catch each of them."""

from __future__ import annotations

import copy
import math
from collections import Counter
from typing import ClassVar

import pytest
import torch
from drafters import END, SMALL, VOCAB, V
from one_round import State, Target, assert_exact, drafts, emissions

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.drafting import Draft
from espalier.shaper import Shaper, Stage
from espalier.verification.node_by_node import NodeByNode, residual

TABLE = es.models.Table.random(V, 2, seed=3, vocab=VOCAB)


def round_law(scorer, make, verifier, length=3):  # type: ignore[no-untyped-def]
    target, law = Target(scorer, END), {}
    state = State(make, target, 0, 0)
    for weight, draft, rows in drafts(state):
        x = draft.prefixes[0]
        for emitted, p in emissions(target, draft, rows, verifier, length).items():
            law[emitted] = law.get(emitted, 0.0) + weight * p
    return target, x, law, length


class Rule(NodeByNode):
    """A verifier made of one wrong choice."""

    guarantee = "sampling"

    def __init__(self, wrong):  # type: ignore[no-untyped-def]
        self.wrong = wrong

    def choose(self, p, law, tokens, rng):  # type: ignore[no-untyped-def]
        return self.wrong(p, law, tokens, rng)


def resamples_from_p(p, law, tokens, rng):  # type: ignore[no-untyped-def]
    if rng.flip(float(p[tokens[0]] / law.q[tokens[0]])):
        return tokens[0], True
    return rng.categorical(p), False


def draws_per_child(p, law, tokens, rng):  # type: ignore[no-untyped-def]
    """R8: an independent draw for every candidate, and another one when none matches."""
    for y in tokens:
        if rng.categorical(p) == y:
            return y, True
    return rng.categorical(p), False


def forgets_what_was_tried(p, law, tokens, rng):  # type: ignore[no-untyped-def]
    """Siblings drawn without replacement, verified as if with."""
    for y in tokens:
        if rng.flip(float(p[y] / law.q[y])):
            return y, True
        p = residual(p, law.q)
    return rng.categorical(p), False


def ratio_for_all(p, law, tokens, rng):  # type: ignore[no-untyped-def]
    """k draws, each accepted with min(1, p/q), but the residual of one."""
    for y in tokens:
        if rng.flip(float(p[y] / law.q[y])):
            return y, True
    return rng.categorical(residual(p, law.q)), False


class WeightsWithoutMin(v.Block):
    """Block verification whose running weight may exceed one."""

    def __call__(self, draft, rows, rng):  # type: ignore[no-untyped-def]
        node, weight, passed = 0, 1.0, 0
        path = [0]
        while draft.children[node]:
            child = draft.children[node][0]
            y = draft.token(child)
            weight *= float(rows[node].probs()[y] / draft.laws[node].q[y])
            path.append(child)
            if rng.flip(weight):
                passed = len(path) - 1
            node = child
        for at in path[1 : passed + 1]:
            yield draft.prefixes[at]
        last = path[passed]
        p = rows[last].probs()
        q = draft.laws[last].q if last in draft.laws else torch.zeros_like(p)
        yield draft.prefixes[last] + rng.categorical(residual(p, q))


class Chain(d.Drafter):
    """A chain of two whose tokens and whose law may disagree."""

    kind = "with replacement"

    def __init__(self, drawn_from, said, keep=lambda token: True):  # type: ignore[no-untyped-def]
        self.drawn_from, self.said, self.keep = drawn_from, said, keep

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        draft, node = Draft(x), 0
        for _ in range(2):
            [truth] = yield es.Ask(self.drawn_from, [draft.prefixes[node]])
            [said] = yield es.Ask(self.said, [draft.prefixes[node]])
            token = truth.draw(rng)
            if not self.keep(float(truth.probs()[token])):
                break
            draft.drawn(node, said.probs())
            node = draft.add(node, token)
        return draft


class StaleHistory(Shaper):
    """R3: a penalty that takes the history of the first node for all of a draft."""

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self):  # type: ignore[no-untyped-def]
        self.inner = es.frequency(1.5)

    def __call__(self, weights, prefixes):  # type: ignore[no-untyped-def]
        return self.inner(weights, [prefixes[0]] * len(prefixes))


def chain():  # type: ignore[no-untyped-def]
    return d.DraftModel(SMALL, tokens=2)


BUGS = {
    "resamples p instead of the residual": (chain, Rule(resamples_from_p)),
    "q before truncation (R1)": (lambda: Chain(SMALL | es.top_k(2), SMALL), v.Rejection()),
    "a most probable token verified as a draw (R1)": (lambda: Chain(SMALL | es.temperature(0), SMALL), v.Rejection()),
    "drops tokens that their own q finds unlikely (R2)": (lambda: Chain(SMALL, SMALL, lambda q: q > 0.4), v.Rejection()),
    "drops unlikely tokens under block verification (R2)": (lambda: Chain(SMALL, SMALL, lambda q: q > 0.4), v.Block()),
    "a draw per child and another after them (R8)": (lambda: d.PromptLookup(tokens=2), Rule(draws_per_child)),
    "with replacement for without": (
        lambda: d.DraftModel(SMALL, tree=d.KConfig((2, 1))),
        Rule(forgets_what_was_tried),
    ),
    "k draws with the residual of one": (lambda: d.DraftModel(SMALL, tree=d.Chains(2, 1)), Rule(ratio_for_all)),
    "block weights above one": (chain, WeightsWithoutMin()),
}


@pytest.mark.parametrize(("drafter", "verifier"), BUGS.values(), ids=BUGS.keys())
def test_a_planted_bug_is_caught(drafter, verifier):
    with pytest.raises(AssertionError, match=r"should be|sum to|never says"):
        assert_exact(*round_law(TABLE, drafter, verifier))


def test_the_same_pairs_without_the_bug_pass():
    for drafter, verifier in [(lambda: Chain(SMALL, SMALL), v.Rejection()), (lambda: Chain(SMALL, SMALL), v.Block())]:
        assert_exact(*round_law(TABLE, drafter, verifier))


def test_a_penalty_that_reads_one_history_for_the_whole_tree_is_caught():
    stop, x = es.stop.budget(8), es.Prefix([0, 1, 0])
    for shaper, same in [(es.frequency(1.5), True), (StaleHistory(), False)]:
        scorer, equal = TABLE | shaper, 0
        for seed in range(10):
            [plain] = es.run(es.sample(scorer, x, stop, es.Rng(seed)))
            [drafted] = es.run(es.speculate(scorer, x, stop, chain(), v.SampleMatch(), es.Rng(seed)))
            equal += plain.ids() == drafted.ids()
        assert (equal == 10) == same


# Streams: what enumeration cannot see, since every flip there is a branch of its own.

ROUNDS = 2500


class Peeks(d.DraftModel):
    """R4: drafts with the very numbers that will decide about them."""

    def __init__(self, rng):  # type: ignore[no-untyped-def]
        super().__init__(SMALL, tokens=2)
        self.rng = rng

    def begin(self, x):  # type: ignore[no-untyped-def]
        return self

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        return super().propose(x, copy.deepcopy(self.rng))


def chi_square(decoder) -> float:  # type: ignore[no-untyped-def]
    """The statistic of ROUNDS texts of two tokens, in standard deviations (Wilson and Hilferty), over the joint law's cells."""
    x = es.Prefix([0, 1, 0])
    joint = TABLE.joint(x, 2)
    seen = Counter(tuple(y.written()) for y in es.run(*(decoder(x, es.Rng(seed)) for seed in range(ROUNDS))))
    statistic = sum((seen[w] - ROUNDS * p) ** 2 / (ROUNDS * p) for w, p in joint.items())
    k = len(joint) - 1
    return ((statistic / k) ** (1 / 3) - (1 - 2 / (9 * k))) / math.sqrt(2 / (9 * k))


def test_draws_and_acceptance_use_independent_streams():
    """2500 rounds: a law that is off by 0.07 in total variation is found, at 4 standard deviations, with a power above 0.9
    (noncentrality 2500 · (2 · 0.07)² = 49 on 8 degrees of freedom at least, and more where the cells are small)."""
    stop, verifier = es.stop.budget(2), v.Rejection()
    assert chi_square(lambda x, rng: es.speculate(TABLE, x, stop, chain(), verifier, rng)) < 4
    assert chi_square(lambda x, rng: es.speculate(TABLE, x, stop, Peeks(rng), verifier, rng)) > 6
