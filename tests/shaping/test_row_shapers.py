"""Shapers of one row: their definitions by hand, transformers' warpers as references, limits and what may not change."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    ExponentialDecayLengthPenalty,
    SequenceBiasLogitsProcessor,
    TypicalLogitsWarper,
)

import espalier as es
from espalier import shaping as s
from espalier.testing import Replay, outcomes
from espalier.text import Vocab

VOCAB = Vocab([b"a", b"b", b"ab", b"bc", None], end=[4])
P = torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.05]], dtype=torch.float64)
X = es.Prefix([0])


def kept(shaper, p=P):
    return (shaper(p.log(), [X] * len(p)) > -torch.inf).int().tolist()[0]


def random_rows(count=50, size=300, scale=3.0):
    rows = torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * scale
    return torch.log_softmax(rows, -1)


REFERENCES = {
    "typical": (s.typical(0.9), TypicalLogitsWarper(0.9)),
    "typical, all sorted": (s.typical(0.9999), TypicalLogitsWarper(0.9999)),
    "epsilon": (s.epsilon(0.01), EpsilonLogitsWarper(0.01)),
    "eta": (s.eta(0.02), EtaLogitsWarper(0.02)),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_truncations_are_those_of_transformers(name, scale):
    ours, theirs = REFERENCES[name]
    rows = random_rows(scale=scale, size=1200)
    assert torch.equal(ours(rows, [X] * len(rows)), theirs(None, rows.clone()))


def test_definitions_by_hand():
    entropy = -float((P * P.log()).sum())
    assert kept(s.typical(0.3)) == [0, 1, 1, 0, 0]  # surprise nearest to 1.33 nats: 0.2 (1.61), then 0.15 (1.90), 0.5 (0.69)
    assert kept(s.epsilon(0.12)) == [1, 1, 1, 0, 0]
    assert kept(s.epsilon(0.9)) == [1, 0, 0, 0, 0]
    assert math.sqrt(0.25) * math.exp(-entropy) == pytest.approx(0.1319, abs=1e-4)
    assert kept(s.eta(0.25)) == [1, 1, 1, 0, 0]
    sigma = float(P.log().std(unbiased=False))
    assert [float(P[0, 0].log() - v.log()) <= sigma for v in P[0]] == [bool(k) for k in kept(s.top_n_sigma(1.0))]
    pair, triple = (-(q * q.log()).sum() for q in (P[0, :2] / 0.7, P[0, :3] / 0.85))
    assert float(pair) < 0.6 * entropy < float(triple)
    assert kept(s.top_h(0.6)) == [1, 1, 0, 0, 0]
    assert kept(s.mirostat(tau=1.3)) == [1, 1, 0, 0, 0]  # μ = 2.6 bits: p ≥ 0.165
    assert kept(s.xtc(0.15, 1.0)) == [0, 0, 1, 1, 1]
    assert kept(s.xtc(0.6, 1.0)) == [1, 1, 1, 1, 1]
    hot = s.dynamic_temperature(0.5, 2.0, exponent=2.0)(P.log(), [X])
    assert torch.allclose(hot, P.log() / (0.5 + 1.5 * (entropy / math.log(5)) ** 2))


@pytest.mark.parametrize("left", [1, 2, 5])
def test_at_least_one_token_is_left_and_excluded_ones_stay_so(left):
    row = torch.full((1, 5), -torch.inf, dtype=torch.float64)
    row[0, :left] = torch.log_softmax(torch.arange(left, dtype=torch.float64), -1)
    shapers = [
        s.typical(0.01),
        s.epsilon(0.99),
        s.eta(0.5),
        s.top_n_sigma(0.0),
        s.top_h(0.0),
        s.mirostat(0.01),
        s.xtc(0.01, 1.0),
    ]
    shapers += [s.mirostat(0.01, version=1), s.dynamic_temperature(0.5, 2.0)]
    for shaper in shapers:
        shaped = shaper(row, [X])
        possible = shaped > -torch.inf
        assert possible.any(), shaper
        assert not possible[0, left:].any(), shaper
        assert not shaped.isnan().any(), shaper


def test_neutral_parameters_change_nothing():
    shapers = [
        s.typical(1.0),
        s.epsilon(0.0),
        s.top_h(1.0),
        s.top_n_sigma(99.0),
        s.xtc(0.1, 0.0),
        s.dynamic_temperature(1.0, 1.0),
    ]
    shapers += [s.self_terminating(0.0, relative=True, end=[4]), s.end_decay(0, 1.0, end=[4]), s.mirostat(99.0)]
    for shaper in shapers:
        assert torch.allclose(shaper(P.log(), [X + 1]), P.log(), atol=1e-12), shaper


def test_top_n_sigma_keeps_the_same_tokens_at_every_temperature():
    rows = random_rows()
    masks = [s.top_n_sigma(1.0)(torch.log_softmax(rows / t, -1), [X] * 50) > -torch.inf for t in (0.3, 1.0, 4.0)]
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[1], masks[2])


def test_the_coin_of_xtc_has_its_law_and_belongs_to_the_tokens():
    model = es.models.Table(5, 0, lambda context: P[0].log())
    cut = torch.tensor([0, 0, 0.15, 0.1, 0.05], dtype=torch.float64)
    law = torch.zeros(5, dtype=torch.float64)

    def draw(rng: Replay) -> int:
        [x] = es.run(es.sample(model | s.xtc(0.15, 0.3, rng), X, es.stop.budget(1), rng))
        return x.last

    for p, token in outcomes(draw):
        law[token] += p
    assert torch.allclose(law, 0.7 * P[0] + 0.3 * cut / cut.sum(), atol=1e-12)
    shaper, again = s.xtc(0.15, 0.5, es.Rng(3)), s.xtc(0.15, 0.5, es.Rng(3))
    prefixes = [es.Prefix([0]) + list(tokens) for tokens in itertools.product(range(5), repeat=4)]
    coins = [kept_row[0] == -torch.inf for kept_row in shaper(P.log().expand(625, -1), prefixes)]
    backwards = again(P.log().expand(625, -1), [es.Prefix([0]) + x.written() for x in reversed(prefixes)])
    assert coins == [row[0] == -torch.inf for row in reversed(backwards)]
    assert abs(sum(coins) - 312.5) < 4 * math.sqrt(625 / 4)


def test_end_decay_is_that_of_transformers():
    scores = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theirs = ExponentialDecayLengthPenalty((2, 1.4), [4], input_ids_seq_length=3)
    x = es.Prefix([0, 1, 2])
    for _ in range(6):
        expected = theirs(torch.tensor([x.ids()]), scores.clone())
        assert torch.allclose(s.end_decay(2, 1.4, end=[4])(scores, [x]), expected)
        x = x + 1


def test_sequence_bias_of_tokens_is_that_of_transformers():
    scores = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    phrases = {(0,): 1.0, (1, 2): -2.0, (1, 1, 3): 0.5, (2, 2): -math.inf}
    theirs = SequenceBiasLogitsProcessor([[list(run), amount] for run, amount in phrases.items()])
    for tokens in itertools.product(range(5), repeat=3):
        x = es.Prefix([tokens[0]]) + list(tokens[1:])
        expected = theirs(torch.tensor([tokens]), scores.clone())
        assert torch.allclose(s.sequence_bias(phrases)(scores, [x]), expected), tokens


def test_a_banned_text_is_never_written_in_any_tokenisation():
    model = es.models.Table.random(5, 2, seed=1, vocab=VOCAB)
    scorer = model | s.ban("abc", "bb")
    for tokens in itertools.product(range(4), repeat=3):
        x, possible = es.Prefix([0]), True
        for token in tokens:
            [row] = es.run(_row(scorer, x))
            possible, x = possible and float(row.probs()[token]) > 0, x + token
        text = VOCAB.join([0, *tokens])
        assert possible == (b"abc" not in text and b"bb" not in text), tokens


def _row(scorer, x):
    [row] = yield es.Ask(scorer, [x])
    return row


@pytest.mark.parametrize("epsilon", [0.1, 0.4])
def test_self_terminating_rows_have_their_equations(epsilon):
    z = torch.tensor([0.3, -1.0, 0.8, 0.0, -0.7], dtype=torch.float64)
    scorer = es.models.Table(5, 0, lambda context: z, VOCAB)
    sigma, others = torch.sigmoid(z[4]), torch.softmax(z[:4], -1)
    x, product = es.Prefix([0]), 1.0
    both = scorer | s.self_terminating(epsilon), scorer | s.self_terminating(epsilon, monotone=True)
    for t in range(1, 6):
        [row] = es.run(_row(both[0], x))
        ending = (1 - (1 - epsilon) ** t) * (1 - sigma) + sigma
        assert torch.allclose(row.probs(), torch.cat([(1 - epsilon) ** t * (1 - sigma) * others, ending[None]]))
        [row] = es.run(_row(both[1], x))
        product = product * (1 - epsilon) * sigma
        assert torch.allclose(row.probs(), torch.cat([product * others, 1 - product[None]]))
        x = x + 1


def test_greedy_texts_end_at_the_bound_whatever_the_model_says():
    model = es.models.Table(5, 0, lambda context: torch.tensor([5.0, 0, 0, 0, -500.0]), VOCAB)
    scorer = model | s.self_terminating(0.05) | es.temperature(0)
    [x] = es.run(es.sample(scorer, X, es.stop.end([4]) | es.stop.budget(100), es.Rng(0)))
    assert len(x.written()) == math.ceil(math.log(0.5) / math.log(0.95))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [2.5, 5.0])
def test_mirostat_holds_the_surprise(version, tau):
    """2,000 tokens of a model of 300: the mean surprise in the rows that were drawn from is within 0.2 bits of tau."""
    ranks = -1.1 * torch.arange(1, 301, dtype=torch.float64).log()
    model = es.models.Table(300, 1, lambda context: ranks.roll(sum(context) * 37))
    scorer, bits = model | s.mirostat(tau, 0.1, version), []

    def decoder(x, rng):
        for _ in range(2000):
            [row] = yield es.Ask(scorer, [x])
            token = row.draw(rng)
            bits.append(-row.logp(token) / math.log(2))
            x = x + token

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # exponentials of short rows wait for a second thread otherwise
    es.run(decoder(es.Prefix([0]), es.Rng(0)))
    torch.set_num_threads(threads)
    assert abs(sum(bits) / len(bits) - tau) < 0.2


WRONG = [
    lambda: s.typical(0.0),
    lambda: s.epsilon(1.0),
    lambda: s.eta(0.0),
    lambda: s.top_n_sigma(-1.0),
    lambda: s.top_h(1.5),
    lambda: s.xtc(0.0),
    lambda: s.dynamic_temperature(2.0, 1.0),
    lambda: s.mirostat(0.0),
    lambda: s.mirostat(3.0, version=3),
    lambda: s.sequence_bias({}),
    lambda: s.sequence_bias({"": 1.0}),
    lambda: s.end_decay(0, 0.0),
    lambda: s.self_terminating(1.0),
    lambda: es.models.Table.random(5, 1, 0) | s.end_decay(1, 1.1),
    lambda: es.models.Table.random(5, 1, 0) | s.ban("x"),
    lambda: es.models.Table.random(5, 1, 0) | s.typical() | s.dynamic_temperature(0.5, 1.0),
]


@pytest.mark.parametrize("make", WRONG)
def test_impossible_values_are_refused_when_built(make):
    with pytest.raises(es.InvalidInput):
        make()
