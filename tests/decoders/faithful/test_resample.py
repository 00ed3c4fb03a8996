"""Resampling and adaptive weighted rejection: expectations computed over every outcome of every flip."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from espalier.decoders.faithful import Awrs, awrs
from espalier.decoders.faithful.awrs import Untested, geometric, recursive
from espalier.decoders.faithful.resample import SCHEMES, without_replacement
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.testing import outcomes

WEIGHTS = [
    torch.tensor([0.1, 0.2, 0.3, 0.4]),
    torch.tensor([0.97, 0.01, 0.0, 0.02]),
    torch.tensor([1.0, 1.0, 1.0]),
    torch.tensor([0.5]),
]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())
@pytest.mark.parametrize("weights", WEIGHTS, ids=range(len(WEIGHTS)))
def test_a_particle_goes_on_in_proportion_to_its_weight(scheme, weights):
    n = 4
    mean = torch.zeros(len(weights), dtype=torch.float64)
    for p, places in outcomes(lambda rng: scheme(weights, n, rng)):
        assert len(places) == n
        for place in places:
            mean[place] += p
    assert torch.allclose(mean, n * weights.double() / weights.double().sum(), atol=1e-7)


@pytest.mark.parametrize("name", ["systematic", "residual"])
def test_low_variance_schemes_keep_whole_shares(name):
    for _, places in outcomes(lambda rng: SCHEMES[name](torch.tensor([0.5, 0.25, 0.25]), 4, rng)):
        assert sorted(places) == [0, 0, 1, 2]


@pytest.mark.parametrize("weights", [*WEIGHTS, torch.tensor([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])], ids=range(5))
@pytest.mark.parametrize("n", [1, 2, 3])
def test_steering_without_replacement_keeps_every_expected_weight(weights, n):
    mean = torch.zeros(len(weights), dtype=torch.float64)
    for p, kept in outcomes(lambda rng: without_replacement(weights, n, rng)):
        assert len(kept) <= n
        assert len({place for place, _ in kept}) == len(kept)
        for place, weight in kept:
            mean[place] += p * weight
    assert torch.allclose(mean, weights.double(), atol=1e-9)


LOGP = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
ALLOWED = [{0, 1, 2, 3}, {1}, {1, 3}, {0, 2, 3}, set()]


@pytest.mark.parametrize("allowed", ALLOWED, ids=map(str, ALLOWED))
def test_the_recursive_weight_is_proper_and_the_law_exact(allowed):
    mass, law = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for p, drawn in outcomes(lambda rng: recursive(LOGP, lambda v: v in allowed, rng)):
        if drawn.token is not None:
            mass[drawn.token] += p * math.exp(drawn.log_weight)
            law[drawn.token] += p
    true = torch.tensor([math.exp(float(LOGP[v])) if v in allowed else 0.0 for v in range(4)], dtype=torch.float64)
    assert torch.allclose(mass, true, atol=1e-7)
    if allowed:
        assert torch.allclose(law, true / true.sum(), atol=1e-7)


@pytest.mark.parametrize("refusals", [1, 2])
@pytest.mark.parametrize("allowed", ALLOWED, ids=map(str, ALLOWED))
def test_a_mask_that_takes_over_leaves_law_and_weights(allowed, refusals, monkeypatch):
    monkeypatch.setattr(awrs, "REFUSALS", refusals)
    mask = torch.tensor([v in allowed for v in range(4)])
    mass, law = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for masks in (True, False):
        limit = SimpleNamespace(allowed=lambda v: v in allowed, mask=lambda m=masks: mask if m else None)
        row = Row(LOGP, Prefix([0]), limit, ())
        before = mass.clone()
        # two draws from one row: what the first has learnt must not bias the second
        for p, (first, second) in outcomes(lambda rng, row=row: _twice(Awrs(masks=False), row, rng)):
            for drawn in (first, second):
                if drawn.token is not None:
                    mass[drawn.token] += p * math.exp(drawn.log_weight) / 2
                    law[drawn.token] += p / 2
        true = torch.tensor([math.exp(float(LOGP[v])) if v in allowed else 0.0 for v in range(4)], dtype=torch.float64)
        assert torch.allclose(mass - before, true, atol=1e-7)
    if allowed:
        assert torch.allclose(law / 2, true / true.sum(), atol=1e-7)


def _twice(sampler, row, rng):
    opened = sampler.open(row, None)
    return sampler.draw(opened, rng), sampler.draw(opened, rng)


def test_what_is_left_is_the_row_without_what_was_dropped():
    """Blocks and their sums against one sum over the whole row, down to weights that a float64 probability cannot hold."""
    logp = torch.cat([torch.randn(600, dtype=torch.float64), torch.tensor([-900.0, -901.0], dtype=torch.float64)])
    left, rng, kept = Untested(logp), Rng(0), logp.clone()
    while left.any():
        assert left.log_mass == pytest.approx(float(kept.logsumexp(0)), abs=1e-9)
        token = left.draw(rng)
        assert kept[token] > -torch.inf
        assert left.drop(token) == logp[token]
        kept[token] = -torch.inf
    assert bool((kept == -torch.inf).all())


@pytest.mark.parametrize("allowed", [{0, 1, 2, 3}, {1}, {1, 3}], ids=str)
def test_the_geometric_weight_is_proper(allowed):
    rng, n = Rng(0), 4_000
    draws = [geometric(LOGP, lambda v: v in allowed, rng) for _ in range(n)]
    for v in range(4):
        weights = torch.tensor([math.exp(d.log_weight) * (d.token == v) for d in draws], dtype=torch.float64)
        true = math.exp(float(LOGP[v])) if v in allowed else 0.0
        assert abs(float(weights.mean()) - true) <= 4 * float(weights.std()) / math.sqrt(n) + 1e-9


@pytest.mark.parametrize("make", [recursive, geometric])
def test_a_tiny_allowed_mass_does_not_kill(make):
    """Mass 1e-9 behind refused tokens: 1 - R in floating point would be 0 or noise."""
    logp = torch.tensor([0.5, 0.5 - 1e-9, 1e-9], dtype=torch.float64).log()
    estimates = [make(logp, lambda v: v == 2, Rng(seed)) for seed in range(200)]
    assert all(d.token == 2 for d in estimates)
    if make is recursive:
        assert all(d.log_weight == pytest.approx(math.log(1e-9), abs=1e-6) for d in estimates)


def by_complement(logp, allowed, rng):
    """Wrong: the untested mass as 1 minus what was refused, in floating point."""
    left, refused = logp.exp().clone(), 0.0
    while bool((left > 0).any()):
        token = rng.categorical(left)
        own = float(left[token])
        left[token] = 0.0
        if allowed(token):
            untested = 1.0 - refused
            following = rng.categorical(left) if bool((left > 0).any()) else None
            whole = following is None or allowed(following)
            return token, untested if whole else own
        refused += own
    return None, 0.0


def test_one_minus_what_was_refused_is_caught():
    """E[weight] of an allowed mass of 1e-17 behind 64 refused tokens: the sum of what is left has it, the complement not."""
    tiny = 1e-17
    logp = torch.tensor([1 / 64] * 64 + [tiny], dtype=torch.float64).log()
    right = [math.exp(recursive(logp, lambda v: v == 64, Rng(seed)).log_weight) for seed in range(20)]
    assert right == pytest.approx([tiny] * 20, rel=1e-6, abs=0)
    wrong = [by_complement(logp, lambda v: v == 64, Rng(seed))[1] for seed in range(20)]
    assert not all(w == pytest.approx(tiny, rel=0.5, abs=0) for w in wrong)
