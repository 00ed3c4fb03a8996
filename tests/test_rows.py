"""What a row tells of its own law: weights of tokens, and the most probable one behind shapers that remove it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from ids import plain

import espalier as es

MODEL = es.models.Table.random(vocab_size=5, depth=2, seed=4)
X = es.Prefix([0, 1])


def row_of(scorer, x):
    def ask():
        [row] = yield es.Ask(scorer, [x])
        return row

    [row] = es.run(ask())
    return row


@pytest.mark.parametrize(
    "after",
    [[es.top_k(2)], [es.temperature(0.6)], [es.temperature(1.4), es.top_p(0.7)], [es.min_p(0.3)], [es.temperature(0)]],
    ids=plain,
)
def test_the_weight_of_a_token_is_p_over_q(after):
    scorer = MODEL
    for shaper in after:
        scorer = scorer | shaper
    row, p = row_of(scorer, X), torch.log_softmax(MODEL.row((0, 1)), -1)
    for token, q in enumerate(row.probs().tolist()):
        expected = float(p[token]) - math.log(q) if q > 0 else math.inf
        assert row.log_weight(token) == pytest.approx(expected, abs=1e-12)


def walk(scorer, length):
    """Every text that the rows allow: its local log-probability, the sum of its weights, and its log p."""
    for tokens in itertools.product(range(5), repeat=length):
        x, q, weight = X, 0.0, 0.0
        for token in tokens:
            row = row_of(scorer, x)
            q, weight, x = q + row.logp(token), weight + row.log_weight(token), x + token
            if q == -math.inf:
                break
        else:
            yield tokens, q, weight


@pytest.mark.parametrize(("t", "truncation"), [(1.0, es.top_k(2)), (1.0, es.top_p(0.8)), (0.7, None), (1.5, es.top_k(3))])
def test_weighted_draws_have_the_law_normalised_over_whole_texts(t, truncation, capsys):
    """q_global ∝ Π p^(1/T) on the texts whose every token is kept: draws from the rows, weighted, have it; unweighted not."""
    scorer = MODEL | es.temperature(t)
    scorer = scorer if truncation is None else scorer | truncation
    texts = list(walk(scorer, 3))
    target = {tokens: math.exp((q + weight) / t) for tokens, q, weight in texts}  # q + weight is log p of the text
    assert math.isclose(sum(math.exp(q) for _, q, _ in texts), 1.0, abs_tol=1e-12)
    joint = MODEL.joint(X, 3)
    total = sum(joint[tokens] ** (1 / t) for tokens in target)
    weighted = {tokens: math.exp(q) * math.exp((q + weight) / t - q) for tokens, q, weight in texts}
    mass = sum(weighted.values())
    assert all(abs(weighted[tokens] / mass - joint[tokens] ** (1 / t) / total) < 1e-12 for tokens in target)
    local = 0.5 * sum(abs(math.exp(q) - joint[tokens] ** (1 / t) / total) for tokens, q, _ in texts)
    with capsys.disabled():
        print(f"\n  T = {t}, {type(truncation).__name__}: the local law is {local:.3f} from the global one (total variation)")
    assert local > 0.01


def test_the_most_probable_token_is_that_of_the_shaped_row():
    class WithoutBest(es.Shaper):
        stage = es.Stage.TRUNCATION
        keeps_best = False

        def __call__(self, weights, prefixes):
            return weights.scatter(-1, weights.argmax(-1, keepdim=True), -torch.inf)

    plain, second = row_of(MODEL, X), [token for token, _ in row_of(MODEL, X).top(2)][1]
    assert row_of(MODEL | WithoutBest(), X).argmax() == second
    assert row_of(MODEL | es.temperature(0) | es.top_k(3), X).argmax() == plain.argmax()


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [es.Rng, type("OwnRng", (es.Rng,), {})])
def test_what_is_far_below_is_drawn_where_a_constraint_leaves_nothing_else(masked, dtype, kind):
    """Tokens 10,000 below the best have no weight as numbers, but a law as logs: the draw must not call this a dead end."""

    class Low:
        allowed_tokens = torch.tensor([False, False, False, True, True])

        def allowed(self, token):
            return bool(self.allowed_tokens[token])

        def mask(self):
            return self.allowed_tokens if masked else None

    logits = torch.tensor([1.0, 0.5, 0.0, -9000.0, -9000.0 + math.log(3)], dtype=dtype)
    for after in ((), (es.temperature(0.9),)):
        found = [es.Rows(logits[None], [es.Prefix([0])], None, [Low()], after)[0].draw(kind(seed)) for seed in range(40)]
        assert set(found) == {3, 4}
        batch = es.Rows(logits.expand(40, -1), [es.Prefix([0])] * 40, None, [Low()] * 40, after)
        assert batch.draw([kind(seed) for seed in range(40)]) == found
