"""What passes cost, learned from passes as they happen, and the ledger that keeps a promise."""

from __future__ import annotations

import pytest
import torch

from espalier.drafting.pass_cost import Ledger, PassCost, size_of


def test_the_cost_of_a_pass_is_learned_under_noise_and_drift():
    cost, rng = PassCost(), torch.Generator().manual_seed(0)
    truth = {1: 1.0, 4: 1.1, 8: 1.3, 16: 1.9, 32: 3.2}
    for turn in range(600):
        load = 1.0 + turn / 600  # the machine becomes twice as slow
        for n, ratio in truth.items():
            if torch.rand((), generator=rng) < 0.3:
                noise = 1 + 0.1 * float(torch.randn((), generator=rng)) + (3.0 if torch.rand((), generator=rng) < 0.02 else 0.0)
                cost.learn(n, 0.01 * load * ratio * noise)
    assert cost.plain == pytest.approx(0.02, rel=0.15)
    for n, ratio in truth.items():
        assert cost.ratio(n) == pytest.approx(ratio, rel=0.15)
    assert truth[8] * 0.85 < cost.ratio(12) < truth[16] * 1.15


def test_the_size_is_the_best_of_all_sizes():
    cost = PassCost(lambda n: 1 + 0.05 * (n - 1))
    cost.plain = 0.01
    gains = [0.8 * 0.9**i for i in range(40)]
    size, rate = cost.best(gains, 40)
    rates = {n: (1 + sum(gains[:n])) / (1 + 0.05 * (size_of(n + 1) - 1)) for n in range(41)}
    assert rate == pytest.approx(max(rates.values()))
    assert rates[size] == pytest.approx(rate)
    assert cost.best([0.01] * 10, 10) == (0, 1.0)
    assert cost.best([], 10) == (0, 1.0)


def test_no_node_is_looked_for_that_could_pay_and_none_that_could_not():
    cost = PassCost(lambda n: 1 + 0.1 * (n - 1))
    cost.plain = 0.01
    for gain in (0.05, 0.15, 0.3, 0.9):
        for n in (1, 4, 9):
            tokens = 1 + 0.8 * n
            now = tokens / cost.ratio(n + 1)
            later = [(tokens + m * gain) / cost.ratio(size_of(n + m + 1)) for m in range(1, 48 - n)]
            assert cost.may_gain(n, tokens, gain, now, 48) == (max(later) > now)


def test_what_disturbs_a_pass_is_not_booked_on_drafting():
    cost = PassCost()
    for _ in range(20):
        cost.learn(1, 0.01)
    assert cost.fair(8, 0.05) == pytest.approx(5)  # nothing is known of such passes
    for _ in range(20):
        cost.learn(8, 0.015)
    assert cost.fair(8, 0.016) == pytest.approx(1.6, rel=0.05)
    assert cost.fair(8, 0.5) == pytest.approx(3, rel=0.05)
    assert cost.fair(1, 0.5) == 1


def test_a_ledger_never_allows_more_than_its_slack():
    ledger = Ledger(slack=0.1, least=10)
    assert ledger.allows(1.0)
    assert not ledger.allows(1.01)
    ledger.book(1, 2.0)
    assert not ledger.allows(0.01)
    for _ in range(30):
        ledger.book(1, 1.0)
    assert ledger.allows(2.0)
