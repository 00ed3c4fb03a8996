"""DIVER: the chosen span from the rows of a toy, limits, and what it keeps under a constraint."""

from __future__ import annotations

import math

import pytest
import torch

import espalier as es
from espalier.decoders import diver
from espalier.text import Vocab

VOCAB = Vocab([b"a", b"b", b"c", None], end=[3])
MODEL = es.models.Table.random(4, 2, seed=12, vocab=VOCAB, scale=1.0)
X, STOP = es.Prefix([0, 1]), es.stop.budget(8) | es.stop.end([3])


def logp(tokens):
    return torch.log_softmax(MODEL.row(tuple(tokens[-2:])), -1)


def unsure(tokens, alpha=0.3):
    p = logp(tokens)
    return [v for v in p.argsort(descending=True).tolist() if float(p[v]) >= float(p.max()) + math.log(alpha) - 1e-7]


def by_hand(score, lam, side, longest=8, most=3):
    """The rule with lists of tokens."""
    text, prompt = [0, 1], 2

    def ended(tokens):
        return tokens[-1] == 3 or len(tokens) - prompt >= 8

    while not ended(text):
        begun = unsure(text)[:most]
        spans = [([*text, v], float(logp(text)[v])) for v in begun]
        met = [False] * len(spans)
        for _ in range(longest - 1 if len(spans) > 1 else 0):
            if all(ended(t) for t, _ in spans):
                break
            met = [m or (not ended(t) and len(unsure(t)) > 1) for m, (t, _) in zip(met, spans, strict=True)]
            there = [m or ended(t) for m, (t, _) in zip(met, spans, strict=True)]
            if any(there) if side == "left" else all(there):
                break
            spans = [(t, p) if ended(t) else ([*t, int(logp(t).argmax())], p + float(logp(t).max())) for t, p in spans]
        text = max(spans, key=lambda one: one[1] + lam * (score(one[0]) - score(text)))[0]
    return text


def tells(tokens):
    return 0.4 * tokens.count(2) - 0.3 * tokens.count(0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("lam", [0.0, 1.0, 5.0])
def test_the_span_is_that_of_the_rule(side, lam):
    [found] = es.run(diver(MODEL, X, STOP, lambda texts: [tells(x.ids()) for x in texts], lam, side))
    assert found.ids() == by_hand(tells, lam, side)


def test_alpha_1_is_greedy_and_what_settles_is_the_text():
    decoder = diver(MODEL, X, STOP, lambda texts: [0.0] * len(texts), alpha=1.0)
    [greedy] = es.run(es.sample(MODEL | es.temperature(0), X, STOP, es.Rng(0)))
    kept = list(es.settle(decoder))
    assert kept[-1].ids() == greedy.ids()
    assert [len(x) for x in kept[:-1]] == list(range(3, len(greedy) + 1))


def test_a_constraint_is_kept():
    guide = es.regex("[ab]{3}c")
    [found] = es.run(diver(MODEL * guide, X, STOP, lambda texts: [tells(x.ids()) for x in texts], 3.0))
    assert guide.matches(VOCAB.join(found.written()))


def test_a_score_that_makes_no_sense_is_refused():
    for score in ("PMI", lambda texts: [0.0], lambda texts: [math.nan] * len(texts)):
        with pytest.raises(es.InvalidInput):
            es.run(diver(MODEL, X, STOP, score))
    with pytest.raises(es.InvalidInput, match="use 'left' or 'right'"):
        es.run(diver(MODEL, X, STOP, len, span="middle"))
