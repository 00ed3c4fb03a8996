"""Searches and samplers as `lm.generate(decoder=…)`: any guide holds; stops, n and statistics are those of all decoders."""

from __future__ import annotations

import pytest
import toys

import espalier as es
from espalier import decoders as d

LM = toys.random_lm(0)
TOKENS = d.Steps(tokens=2)
DECODERS = {
    "beam": d.Beam(4),
    "best first": d.BestFirst(3),
    "stochastic": d.StochasticBeam(3),
    "lattice": d.Lattice(60),
    "banks": d.Banks(es.constraints.contains("ab"), 3),
    "neurologic": d.NeuroLogic(["ab"], 3),
    "reject": d.ARS(),
    "cars": d.CARS(),
    "asap": d.ASAp(),
    "smc": d.SMC(8),
    "awrs": d.Awrs(),
    "best of": d.BestOf(4),
    "rebase": d.Rebase(4, steps=TOKENS),
    "astar": d.AStar(3, steps=TOKENS),
    "pgtd": d.PGTD(rollouts=8),
    "mcts": d.MCTS(rollouts=8),
    "litesearch": d.LiteSearch(steps=TOKENS),
    "ved": d.VED(steps=d.Steps(tokens=1), budget=60),
    "phi": d.Phi(2, 2, steps=TOKENS),
    "rankgen": d.Rankgen(steps=TOKENS),
}


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS.keys())
def test_any_guide_holds_and_statistics_are_kept(decoder):
    out = LM.complete(es.raw("x"), decoder=decoder, regex="[ab]{2,5}", max_tokens=8, seed=0)
    assert out.text
    assert set(out.text) <= {"a", "b"}
    assert out.finish_reason == "stop"
    assert out.stats.passes > 0
    assert len(out.logprobs) == len(out.tokens)


def test_several_texts_of_one_search_and_of_several_samples():
    for decoder in (d.Beam(4), d.CARS(), d.SMC(8)):
        found = LM.complete(es.raw("x"), decoder=decoder, regex="[ab]{2,5}", max_tokens=8, seed=0, n=2)
        assert len(found) == 2


def test_a_schema_gives_a_value_through_a_beam():
    value = LM.generate(es.raw("x"), decoder=d.Beam(4), schema={"enum": [1, "b", True]}, max_tokens=12)
    assert value in (1, "b", True)
