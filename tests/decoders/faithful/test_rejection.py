"""Attempts: the exact law of the first find of a fresh instance, by replaying every coin flip."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import espalier as es
from decoders.faithful.cases import CASES, Case, Texts, X, distance, law_of_first
from espalier.decoders import ARS, CARS, ASAp, Local, Reject
from espalier.decoders.faithful.attempts import Attempts, Rule
from espalier.errors import InvalidInput, LimitExceeded, Unsatisfiable
from espalier.testing import outcomes

EXACT = {"reject": Reject, "ars": ARS, "cars": CARS}


def first(case: Case, method, **settings):
    return law_of_first(lambda rng: method(case.law, **settings)(case.model, X, case.stop, rng))


@pytest.mark.parametrize("method", EXACT.values(), ids=EXACT.keys())
@pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
def test_the_first_find_has_exactly_the_conditional_law(make, method):
    case = make()
    truth, z = case.true()
    law, nothing, _ = first(case, method, tries=2, beside=1)
    assert distance(law, truth) < 1e-9
    if method is Reject:
        assert nothing == pytest.approx((1 - z) ** 2, rel=1e-6)
    else:
        assert nothing <= (1 - z) ** 2 + 1e-12


@pytest.mark.parametrize("method", [ARS, CARS], ids=["ars", "cars"])
@pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
def test_attempts_side_by_side_leave_the_law(make, method):
    case = make()
    law, _, _ = law_of_first(lambda rng: _forced(method(case.law, tries=2, beside=2), case, rng))
    assert distance(law, case.true()[0]) < 1e-9


def _forced(method, case, rng):
    """Both attempts are started at once, though one would be enough to begin with."""
    attempts = method.attempts(case.model, X, case.stop, rng)
    attempts._start(2, 0)
    return _decoder(attempts)


def _decoder(attempts):
    valid = yield from attempts.collect(1)
    if not valid:
        raise LimitExceeded("nothing")
    return [es.decoders.Weighted(a.node.prefix) for a in valid]


class FirstToFinish(Attempts):
    """Wrong: results in the order in which they came."""

    def _in_order(self):
        return sorted((a for a in self.began if a.outcome), key=lambda a: len(a.node.prefix))


class MaskAtANewNode(Attempts):
    """Wrong: draws among the allowed tokens of a new node, without the coin."""

    def _goes_on(self, a, total):
        return a.chosen is None or a.chosen == 1.0 or super()._goes_on(a, total)


@pytest.mark.parametrize("wrong", [FirstToFinish, MaskAtANewNode])
def test_planted_bugs_are_caught(wrong):
    caught = 0
    for make in CASES.values():
        case = make()

        def decoder(rng, case=case):
            right = CARS(case.law, tries=2, beside=2).attempts(case.model, X, case.stop, rng)
            attempts = wrong(right.scorer, right.x, right.ends, Rule("masks"), right.spent, rng, 2, 2)
            attempts._start(2, 0)
            return _decoder(attempts)

        caught += distance(law_of_first(decoder)[0], case.true()[0]) > 0.01
    assert caught >= 1


@pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
def test_local_decoding_owes_its_weight(make):
    case = make()
    truth, z = case.true()
    local, _, _ = first(case, Local, tries=1)
    mass: dict = {}

    def once(rng):
        try:
            [[found]] = es.run(Local(case.law, tries=1)(case.model, X, case.stop, rng))
        except LimitExceeded:
            return None
        return found

    for p, found in outcomes(once):
        if found is not None:
            text = tuple(found.prefix.written())
            mass[text] = mass.get(text, 0.0) + p * math.exp(found.log_weight)
    assert sum(mass.values()) == pytest.approx(z, rel=1e-9)
    assert distance({text: m / z for text, m in mass.items()}, truth) < 1e-9
    if make is not CASES["dyck"]:
        assert distance(local, truth) > 0.1, "these cases are chosen to be badly wrong for local decoding"


def test_asap_is_local_first_and_tends_to_the_conditional_law():
    case = CASES["trap"]()
    z = case.true()[1]
    assert distance(first(case, ASAp, tries=1)[0], first(case, Local, tries=1)[0]) < 1e-9
    method = ASAp(case.law, n=60)
    attempts = method.attempts(case.model, X, case.stop, es.Rng(1))
    list(es.settle(_collect(attempts, 60)))
    assert attempts.trie.root.bound == pytest.approx(z, rel=1e-6)
    last = attempts.began[-1]
    assert last.log_weight == pytest.approx(math.log(z), abs=1e-6)
    bounds = [a.start for a in attempts.began]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(bounds)), "bounds only fall"


def _collect(attempts, n):
    return (yield from attempts.collect(n))


@pytest.mark.parametrize("method", EXACT.values(), ids=EXACT.keys())
def test_a_check_without_a_mask_is_enough(method):
    case = CASES["early end"]()
    case.law = Texts(list(case.law.texts), case.law.vocab_size, checks=True)
    law, _, _ = first(case, method, tries=2)
    assert distance(law, case.true()[0]) < 1e-9


def test_the_bound_meets_the_mass_when_everything_is_known():
    case = CASES["dyck"]()
    attempts = CARS(case.law, n=400).attempts(case.model, X, case.stop, es.Rng(0))
    list(es.settle(_collect(attempts, 400)))
    z = case.true()[1]
    assert attempts.trie.root.bound == pytest.approx(z, rel=1e-9)
    rate = 400 / len(attempts.finished)
    assert rate > 0.9, "once all is known, every attempt succeeds"


def test_a_text_that_is_cut_counts_as_its_target_says():
    model = es.models.Table(3, 0, lambda context: torch.tensor([0.5, 0.3, 0.2]).log())
    law = Texts([(0, 0, 2), (0, 2), (1, 2), (0, 0, 0, 2)], 3)
    stop = es.stop.end([2]) | es.stop.budget(2)

    def found(target):
        return law_of_first(lambda rng: CARS(law, tries=2, target=target)(model, X, stop, rng))[0]

    assert found("finished") == pytest.approx({(0, 2): 0.1 / 0.16, (1, 2): 0.06 / 0.16})
    z = 0.16 + 0.25
    assert found("prefix") == pytest.approx({(0, 2): 0.1 / z, (1, 2): 0.06 / z, (0, 0): 0.25 / z})


def test_nothing_valid_is_one_clear_message():
    model = es.models.Table.random(3, 1, seed=0)
    with pytest.raises(Unsatisfiable, match="no text within the length limit"):
        es.run(CARS(Texts([(0, 0, 0, 0, 2)], 3))(model, X, es.stop.end([2]) | es.stop.budget(3), es.Rng(0)))
    with pytest.raises(LimitExceeded, match="budget was used up"):
        es.run(CARS(Texts([(0, 0, 2)], 3), budget=1)(model, X, es.stop.end([2]) | es.stop.budget(4), es.Rng(0)))
    for wrong in ({"n": 0}, {"beside": 0}, {"tries": 0}, {"target": "all"}, {"budget": 0}):
        with pytest.raises(InvalidInput):
            CARS(None, **wrong)
