"""SMC on enumerable models: expectations over every outcome of every flip."""

from __future__ import annotations

import math

import pytest
import torch

import espalier as es
from decoders.faithful.cases import CASES, Case, X, case, distance, law_of_first
from espalier.decoders import SMC, Awrs
from espalier.decoders.faithful.awrs import Drawn
from espalier.decoders.faithful.particles import Particle
from espalier.decoders.faithful.populations import Populations
from espalier.errors import InvalidInput, LimitExceeded, Unsatisfiable
from espalier.testing import outcomes


def masses(smc: SMC, model, stop, limit: int = 400_000) -> dict:
    """E[Σ weights of particles that are the text y] / particles, for every y."""
    mass: dict = {}

    def once(rng):
        populations = smc.populations(model, X, stop, rng)
        es.run(_advance(populations))
        return populations

    for p, populations in outcomes(once, limit):
        for particle in populations.pooled():
            if particle.log_weight > -math.inf:
                text = tuple(particle.prefix.written())
                mass[text] = mass.get(text, 0.0) + p * math.exp(particle.log_weight) / smc.particles / smc.islands
    return mass


def _advance(populations):
    yield from populations.advance()
    return populations


def true_masses(made: Case) -> dict:
    law, z = made.true()
    return {text: p * z for text, p in law.items()}


SETTINGS = {
    "systematic": {"ess": 1.0},
    "multinomial": {"ess": 1.0, "resample": "multinomial"},
    "stratified": {"ess": 1.0, "resample": "stratified"},
    "residual": {"ess": 1.0, "resample": "residual"},
    "steer": {"resample": "steer"},
    "never": {"ess": 0.0},
    "exploring": {"ess": 0.9, "explore": 0.3},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("name", ["trap", "early end"])
def test_particles_are_properly_weighted(name, settings):
    made = CASES[name]()
    mass = masses(SMC(2, guide=made.law, **settings), made.model, made.stop)
    assert mass == pytest.approx(true_masses(made), rel=1e-6)


@pytest.mark.parametrize("name", ["dyck", "early end"])
@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_a_move_keeps_the_target(name, tilt):
    made = CASES[name]()

    def twist(prefixes):
        return [tilt * len(x.written()) for x in prefixes]

    smc = SMC(1, rejuvenate=1, guide=made.law, twist=twist if tilt else None)
    target = {text: mass * math.exp(tilt * len(text)) for text, mass in true_masses(made).items()}
    after = dict.fromkeys(target, 0.0)

    def moved(rng, text):
        populations = smc.populations(made.model, X, made.stop, rng)
        populations.length = made.length
        populations.islands = [[particle_of(made, text, tilt)]]
        es.run(_move(populations))
        return tuple(populations.islands[0][0].prefix.written())

    for text, mass in target.items():
        for p, new in outcomes(lambda rng, text=text: moved(rng, text)):
            after[new] += mass * p
    assert after == pytest.approx(target, rel=1e-6)


class MovesAfterResampling(Populations):
    """Wrong: whether anything moves depends on the weights."""

    def _resample(self):
        before = list(self.islands)
        super()._resample()
        self.resampled = any(a is not b for a, b in zip(before, self.islands, strict=True))

    def _rejuvenate_all(self):
        if getattr(self, "resampled", False):
            yield from super()._rejuvenate_all()


def short() -> Case:
    """The model prefers the letter behind which less is valid."""

    def row(context):
        rows = {0: [0, 0.7, 0.3, 0], 1: [0, 0.5, 0.2, 0.3]}
        return rows.get(context[-1], [0, 0.05, 0.05, 0.9])

    return case(["a$", "b$"], row, 1, 2, "^ab$")


def uneven() -> Case:
    """Texts of two lengths, so that weights differ after the first letter already."""

    def row(context):
        rows = {0: [0, 0.8, 0.2, 0], 1: [0, 0, 0.6, 0.4]}
        return rows.get(context[-1], [0, 0.1, 0, 0.9])

    return case(["ab$", "b$"], row, 1, 3, "^ab$")


MOVING = [(short, 0.0, "systematic"), (short, 0.95, "systematic"), (short, 0.95, "steer"), (uneven, 0.95, "residual")]


@pytest.mark.parametrize(("make", "ess", "resample"), MOVING, ids=lambda value: getattr(value, "__name__", str(value)))
def test_moves_leave_every_expected_weight(make, ess, resample):
    made = make()
    mass = masses(SMC(2, ess=ess, resample=resample, rejuvenate=1, guide=made.law), made.model, made.stop)
    assert mass == pytest.approx(true_masses(made), rel=1e-9)


def test_moves_that_look_at_the_weights_are_caught(monkeypatch):
    made = short()
    monkeypatch.setattr("espalier.decoders.faithful.smc.Populations", MovesAfterResampling)
    mass = masses(SMC(2, ess=0.95, rejuvenate=1, guide=made.law), made.model, made.stop)
    assert mass != pytest.approx(true_masses(made), rel=0.03)


def test_moves_need_a_length_limit():
    made = short()
    with pytest.raises(InvalidInput, match="length limit"):
        es.run(SMC(2, rejuvenate=1, guide=made.law)(made.model, X, es.stop.end([made.end]), es.Rng(0)))


def particle_of(made: Case, text, tilt):
    """A finished text with the weights of its steps: the allowed mass, at the last place that of the end alone."""
    x, steps = X, []
    for at, token in enumerate(text):
        p = made.model.row((0,) if made.model.depth else ()).softmax(-1)
        allowed = made.law.mask(tuple(text[:at]))
        if at == made.length - 1:
            allowed &= torch.arange(len(allowed)) == made.end
        steps.append((math.log(float(p[allowed].sum())), 0.0))
        x = x + token
    return Particle(x, 0, 0.0, tilt * len(text), tuple(steps), over=True)


def _move(populations):
    yield from populations._rejuvenate(0)


def test_islands_and_flat_rows_and_brackets():
    for name in ("dyck", "flat"):
        made = CASES[name]()
        assert masses(SMC(1, islands=2, guide=made.law), made.model, made.stop) == pytest.approx(true_masses(made), rel=1e-6)


def test_checks_alone_are_enough():
    made = CASES["early end"]()
    mass = masses(SMC(1, guide=made.law, propose=Awrs(masks=False)), made.model, made.stop)
    assert mass == pytest.approx(true_masses(made), rel=1e-6)


def test_a_twist_is_part_of_the_target_at_the_end_and_leads_before_it():
    made = CASES["dyck"]()

    def twist(prefixes):
        return [0.7 * x.written().count(1) for x in prefixes]

    mass = masses(SMC(2, ess=0.9, guide=made.law, twist=twist), made.model, made.stop)
    assert mass == pytest.approx({text: m * math.exp(0.7 * text.count(1)) for text, m in true_masses(made).items()}, rel=1e-6)


def test_power_is_of_whole_texts():
    made = CASES["early end"]()
    mass = masses(SMC(2, ess=1.0, guide=made.law, power=2.0), made.model, made.stop)
    assert mass == pytest.approx({text: m**2 for text, m in true_masses(made).items()}, rel=1e-6)


def test_global_truncation_is_normalised_over_whole_texts():
    model = es.models.Table.random(3, 1, seed=4)
    scorer = model | es.top_k(2)
    stop = es.stop.end([2]) | es.stop.budget(3)
    mass = masses(SMC(2, ess=1.0, target="global"), scorer, stop)
    expected = {}
    for text in mass:
        p, x = 1.0, X
        for token in text:
            row = model.row((x.last,)).log_softmax(-1)
            assert int((row > row[token]).sum()) < 2, "kept by top-k"
            p, x = p * float(row[token].exp()), x + token
        expected[text] = p
    assert mass == pytest.approx(expected, rel=1e-6)


class ForcesTheEnd(Populations):
    """Wrong: ends a text at the limit without the weight of the end."""

    def _draw(self, opened):
        closing = self.ends.closing(opened.row.prefix)
        return super()._draw(opened) if closing is None else Drawn(int(closing[0]), 0.0, 0)


def test_forcing_the_end_without_its_weight_is_caught(monkeypatch):
    made = CASES["dyck"]()
    monkeypatch.setattr("espalier.decoders.faithful.smc.Populations", ForcesTheEnd)
    mass = masses(SMC(1, guide=made.law), made.model, made.stop)
    assert mass != pytest.approx(true_masses(made), rel=0.05)


def test_the_bias_of_the_first_find_falls_with_particles():
    made = CASES["early end"]()
    truth = made.true()[0]

    def off(n):
        return distance(law_of_first(lambda rng: SMC(n, guide=made.law)(made.model, X, made.stop, rng))[0], truth)

    one, two, three = off(1), off(2), off(3)
    assert one > two > three
    assert three < 0.75 * one


def test_many_particles_are_near_and_know_their_error():
    made = CASES["trap"]()
    truth, z = made.true()
    within, total = 0, {}
    for seed in range(20):
        run = SMC(64, islands=4, guide=made.law).populations(made.model, X, made.stop, es.Rng(seed))
        es.run(_advance(run))
        within += abs(run.log_z - math.log(z)) <= 2 * run.log_z_error + 1e-9
        assert run.bounds.root.bound >= z - 1e-12
        for particle in run.pooled():
            text = tuple(particle.prefix.written())
            total[text] = total.get(text, 0.0) + math.exp(particle.log_weight)
    whole = sum(total.values())
    assert distance({text: w / whole for text, w in total.items()}, truth) < 0.02
    assert within >= 17


def test_bad_input_is_one_clear_message():
    model, stop = es.models.Table.random(3, 1, seed=0), es.stop.end([2]) | es.stop.budget(3)
    for wrong in (
        {"particles": 0},
        {"ess": 2},
        {"resample": "often"},
        {"target": "all"},
        {"islands": 0},
        {"rejuvenate": -1},
        {"explore": 1.0},
    ):
        with pytest.raises(InvalidInput):
            SMC(**{"particles": 4, **wrong})
    with pytest.raises(InvalidInput, match="twist gave 1 values"):
        es.run(
            SMC(4, twist=lambda prefixes: [0.0][: len(prefixes)] if len(prefixes) == 1 else [0.0])(model, X, stop, es.Rng(0))
        )
    with pytest.raises(LimitExceeded, match="budget ended"):
        es.run(SMC(4, budget=1, guide=CASES["dyck"]().law)(CASES["dyck"]().model, X, es.stop.budget(9), es.Rng(0)))
    from decoders.faithful.cases import Texts

    with pytest.raises(Unsatisfiable, match="all 4 particles died"):
        es.run(SMC(4, guide=Texts([(0, 0, 0, 0, 2)], 3))(model, X, stop, es.Rng(0)))
