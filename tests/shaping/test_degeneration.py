"""Contrastive search, FSD and look-back: their equations from the rows of a toy, what they cost, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from layered import Layers
from torch.nn.functional import cosine_similarity

import espalier as es
from espalier import shaping as s
from espalier.shaping.repeats.contrastive import Directions

V = 6
MODEL = Layers.random(V, [1.0, 0.7, 0.9], seed=3)
TEXT = [1, 0, 2, 1, 0, 2, 1]


def path(tokens, given=2):
    x = es.Prefix(tokens[:given])
    for token in tokens[given:]:
        x = x + token
    return x


def ask(scorer, *prefixes):
    def asks():
        return (yield es.Ask(scorer, list(prefixes)))

    [rows] = es.run(asks())
    return rows.logits


def p_of(tokens):
    return torch.softmax(MODEL.forward([es.Prefix(tokens)], frozenset()).logits[0], -1)


def hidden(tokens):
    return MODEL.forward([es.Prefix(tokens)], frozenset({"hidden"})).extras["hidden"][0]


@pytest.mark.parametrize("given", [1, 3, 7])
def test_contrastive_search_is_its_equation(given):
    states = torch.stack([hidden(TEXT[: i + 1]) for i in range(len(TEXT))])
    p = p_of(TEXT)
    scorer = s.contrastive_search(MODEL, k=4, alpha=0.6)
    row = ask(scorer, path(TEXT, given))[0]
    for v in p.topk(4).indices.tolist():
        penalty = cosine_similarity(hidden([*TEXT, v])[None].float(), states.float()).max()
        assert float(row[v]) == pytest.approx(0.4 * float(p[v]) - 0.6 * float(penalty), abs=1e-6)
    assert (row < -1e3).sum() == V - 4


def test_a_token_of_contrastive_search_costs_one_pass_and_alpha_0_is_greedy():
    model = Layers.random(V, [1.0, 0.7, 0.9], seed=3)
    passes = []
    stop, x = es.stop.budget(10), es.Prefix([1])
    scorer = s.contrastive_search(model, k=3, alpha=0.0) | es.temperature(0)
    [found] = es.run(
        es.sample(scorer, x, stop, es.Rng(0)), trace=lambda kind, value: kind == "pass" and passes.append(value[1])
    )
    [greedy] = es.run(es.sample(model | es.temperature(0), x, stop, es.Rng(0)))
    assert found.ids() == greedy.ids()
    assert len(passes) == 1 + 10
    assert all(len(asks[0].prefixes) == 3 for asks in passes[1:])


def test_a_row_forgotten_under_the_budget_is_asked_for_again():
    forks = s.contrastive_search(MODEL, k=3, alpha=0.6)
    forks._forks._budget = 1
    [few] = es.run(es.sample(forks | es.temperature(0), es.Prefix([1]), es.stop.budget(6), es.Rng(0)))
    many = s.contrastive_search(MODEL, k=3, alpha=0.6)
    [plain] = es.run(es.sample(many | es.temperature(0), es.Prefix([1]), es.stop.budget(6), es.Rng(0)))
    assert few.ids() == plain.ids()


def test_fsd_takes_off_the_text_s_own_n_gram_model():
    """The text "a b a", n = 3, beta = 0.9: penalties 0.48333 (b), 0.66667 (a), 0 (c), computed by hand."""
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    model = es.models.Table(3, 0, lambda context: p.log())
    row = ask(s.fsd(model, k=3, alpha=0.4, n=3, beta=0.9), path([0, 1, 0], 1))[0]
    penalties = torch.tensor([2 / 3, 0.9 * 0.5 + 0.1 / 3, 0], dtype=torch.float64)
    assert torch.allclose(row, 0.6 * p - 0.4 * penalties, atol=1e-12)
    greedy = ask(s.fsd(model, k=3, alpha=0.0), path([0, 1, 0], 1))[0]
    assert torch.allclose(greedy, p)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("given", [1, 4])
def test_fsd_by_hidden_states_is_its_equation(n, given):
    states = [hidden(TEXT[: i + 1]) for i in range(len(TEXT))]
    query = torch.cat(states[len(TEXT) - n + 1 :])
    p = p_of(TEXT)
    row = ask(s.fsd(MODEL, k=V, alpha=0.45, n=n, vector=True), path(TEXT, given))[0]
    for v in range(V):
        keys = [torch.cat(states[i - n + 1 : i]) for i in range(n - 1, len(TEXT)) if TEXT[i] == v]
        alike = max([0.0, *(float(cosine_similarity(query, key, dim=0)) for key in keys)])
        assert float(row[v]) == pytest.approx(0.55 * float(p[v]) - 0.45 * alike, abs=1e-6)


@pytest.mark.parametrize("given", [2, 5])
@pytest.mark.parametrize("window", [2, 128])
def test_look_back_is_its_equations(given, window):
    def kl(p, q):
        return float((p * (p / q).log()).sum())

    laws = [p_of(TEXT[: i + 1]) for i in range(len(TEXT))]
    nearest = min(kl(laws[-1], q) for q in laws[:-1][-window:])
    x = path(TEXT, given)
    plain = ask(s.look_back(MODEL, nearest - 1e-9, 3, window), x)[0]
    assert plain.argmax() == laws[-1].argmax()
    assert float(torch.softmax(plain, -1).max()) == 1.0
    row = ask(s.look_back(MODEL, nearest + 1e-9, 3, window), x)[0]
    prompt = laws[:given][-window:]
    back = {v: min(kl(p_of([*TEXT, v]), q) for q in prompt) for v in laws[-1].topk(3).indices.tolist()}
    weights = torch.tensor([-back[v] for v in back], dtype=torch.float64).softmax(-1)
    assert torch.allclose(torch.softmax(row, -1)[list(back)], weights, atol=1e-6)


def test_look_back_in_a_loop_asks_ahead_and_else_costs_one_row():
    loop = es.models.Table(5, 1, lambda context: torch.full((5,), 0.0).index_fill(0, torch.tensor((context[0] + 1) % 3), 4.0))
    [x] = es.run(es.sample(s.look_back(loop, 0.1, 2), es.Prefix([0, 3, 4, 0]), es.stop.budget(12), es.Rng(0)))
    [greedy] = es.run(es.sample(s.look_back(loop, -1.0, 2), es.Prefix([0, 3, 4, 0]), es.stop.budget(12), es.Rng(0)))
    assert greedy.written() == [(i + 1) % 3 for i in range(12)]
    assert x.written() != greedy.written()


def test_what_a_model_does_not_give_is_refused_when_built():
    class Bare(es.Model):
        vocab_size = 4

        def forward(self, prefixes, want):
            raise AssertionError("no pass is paid for")

    for build in (s.contrastive_search, lambda scorer: s.fsd(scorer, n=2, vector=True)):
        with pytest.raises(es.InvalidInput, match="reads 'hidden' of each pass, which Bare does not give"):
            build(Bare())
    for build in (s.contrastive_search, s.fsd, s.look_back):
        with pytest.raises(es.InvalidInput, match="reads the probabilities of all tokens, but was given a scorer behind trunc"):
            build(MODEL | es.top_k(2))
    for wrong in (
        lambda: s.contrastive_search(MODEL, k=0),
        lambda: s.fsd(MODEL, alpha=2.0),
        lambda: s.look_back(MODEL, window=0),
        lambda: s.fsd(MODEL, n=1, vector=True),
    ):
        with pytest.raises(es.InvalidInput):
            wrong()


def test_directions_of_many_positions_are_few_blocks_in_order():
    vectors = torch.randn(1000, 8, generator=torch.Generator().manual_seed(2))
    state, fork = Directions(), None
    for i, vector in enumerate(vectors):
        fork = state if i == 640 else fork
        state = state + vector
    expected = torch.nn.functional.normalize(vectors[:3], dim=-1) @ torch.nn.functional.normalize(vectors, dim=-1).T
    assert torch.allclose(state.cosines(vectors[:3]), expected, atol=1e-6)
    assert torch.allclose(fork.cosines(vectors[:3]), expected[:, :640], atol=1e-6)  # older states stay what they are
    assert len(state.blocks) <= 5
