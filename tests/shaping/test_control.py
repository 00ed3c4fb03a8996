"""Values and routers: their laws, their limits, and what they ask."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import espalier as es
from espalier import shaping as s
from espalier.testing import assert_same_law, exact_law

MODEL = es.models.Table.random(3, 2, seed=2)
X = es.Prefix([0])


def row(scorer, x):
    def ask():
        [found] = yield es.Ask(scorer, [x])
        return found.logits

    [found] = es.run(ask())
    return found


def test_value_weighs_the_candidates():
    seen = []

    def score(texts):
        seen.append([x.ids() for x in texts])
        return [0.5 * x.last - len(x) for x in texts]

    logp = torch.log_softmax(MODEL.row((0,)), -1)
    best = logp.topk(2).indices.tolist()
    found = row(s.value(MODEL, score, weight=2.0, k=2), X)
    assert seen == [[[0, v] for v in best]]
    assert all(float(found[v]) == pytest.approx(float(logp[v]) + 2 * (0.5 * v - 2)) for v in best)
    assert torch.allclose(torch.softmax(row(s.value(MODEL, score, weight=0.0, k=3), X), -1), logp.exp(), atol=1e-12)


def test_an_exact_value_gives_the_tilted_law():
    """V(x) = log E[exp(reward) | x]: draws have the law p(text) · exp(reward) / Z."""

    def reward(tokens):
        return 0.7 * tokens.count(1) - 0.4 * (tokens[-1] == 0)

    def expected(x):
        written = x.written()
        rest = MODEL.joint(x, 3 - len(written)) if len(written) < 3 else {(): 1.0}
        return math.log(sum(p * math.exp(reward([*written, *more])) for more, p in rest.items()))

    scorer = s.value(MODEL, lambda texts: [expected(x) for x in texts], 1.0, 3)
    law = exact_law(lambda rng: es.sample(scorer, X, es.stop.budget(3), rng), lambda x: tuple(x.written()))
    tilted = {tokens: p * math.exp(reward(list(tokens))) for tokens, p in MODEL.joint(X, 3).items()}
    assert_same_law(law, {tokens: w / sum(tilted.values()) for tokens, w in tilted.items()}, 1e-10)


def entropy(model, tokens):
    p = torch.softmax(model.row(tuple(tokens[-model.depth :])), -1)
    return -float((p * p.log2()).sum())


def test_the_route_follows_the_rolling_entropy_of_whoever_wrote():
    small, large = es.models.Table.random(3, 1, seed=4), es.models.Table.random(3, 2, seed=5)
    threshold, window, dwell = 1.1, 2, 2
    switches = 0
    for tokens in itertools.product(range(3), repeat=5):
        scorer = s.router(small, large, threshold, window, dwell)
        x, text, bits, current, since = es.Prefix([0]), [0], [], False, None
        for token in [*tokens, 0]:
            if bits and (since is None or since >= dwell):
                wanted = sum(bits[-window:]) / len(bits[-window:]) >= threshold
                if wanted is not current:
                    current, since, switches = wanted, 0, switches + 1
            model = large if current else small
            assert torch.equal(row(scorer, x), model.row(tuple(text[-model.depth :]))), tokens
            bits.append(entropy(model, text))
            x, text, since = x + token, [*text, token], None if since is None else since + 1
    assert switches > 100


def test_limits_of_the_threshold():
    small, large = es.models.Table.random(3, 1, seed=4), es.models.Table.random(3, 2, seed=5)
    for threshold, used, idle in ((-1.0, large, small), (math.inf, small, large)):
        small.passes = large.passes = 0
        [found] = es.run(es.sample(s.router(small, large, threshold, dwell=1), X, es.stop.budget(9), es.Rng(0)))
        assert (used.passes, idle.passes) == (9, 0)
        [plain] = es.run(es.sample(used, X, es.stop.budget(9), es.Rng(0)))
        assert plain.ids() == found.ids()


def test_wrong_parts_are_refused():
    for wrong in (
        lambda: s.value(MODEL, "V"),
        lambda: s.value(MODEL, len, k=0),
        lambda: s.value(MODEL | es.top_k(2), len),
        lambda: s.router(MODEL, es.models.Table.random(4, 1, 0), 1.0),
        lambda: s.router(MODEL, MODEL | es.temperature(0.5), 1.0),
        lambda: s.router(MODEL, "large", 1.0),
        lambda: s.router(MODEL, MODEL, 1.0, window=0),
        lambda: row(s.value(MODEL, lambda texts: [0.0]), X),
        lambda: row(s.value(MODEL, lambda texts: [math.nan] * len(texts)), X),
    ):
        with pytest.raises(es.InvalidInput):
            wrong()
