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
    "markov": d.Markov(1, k=60),
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


def test_decoders_that_read_embeddings_come_through_the_door_or_are_refused():
    tok = toys.tokenizer()
    lm = es.LanguageModel(toys.transformer(True, tok.vocab.size, seed=2), tok, "tiny")
    for decoder in (d.Superposed(3, alpha=0), d.Langevin([d.energies.fluency], steps=2)):
        out = lm.complete(es.raw("x"), decoder=decoder, regex="[ab]{2,5}", max_tokens=8, seed=0)
        assert out.text
        assert set(out.text) <= {"a", "b"}
        assert out.finish_reason == "stop"
        with pytest.raises(es.InvalidInput, match="input embeddings"):
            LM.complete(es.raw("x"), decoder=decoder, max_tokens=8)


def test_streams_write_greedily_through_the_door():
    plain = LM.complete(es.raw("x"), temperature=0, max_tokens=6)
    for decoder in (d.WaitK(9), d.Commit()):
        assert LM.complete(es.raw("x"), decoder=decoder, max_tokens=6).text == plain.text
