"""Rows of several models and prompts: their equations, limits, what they cost, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from toys import speaks

import espalier as es
from espalier import shaping as s
from espalier import verification as v
from espalier.constraints import regex
from espalier.shaping.combine.linear import plausible
from espalier.text import Vocab

V = 5
VOCAB = Vocab([b"a", b"b", b"ab", b"c", None], end=[4])
A, B, C = (es.models.Table.random(V, 2, seed=k, vocab=VOCAB) for k in (1, 2, 3))
X = es.Prefix([0, 1])


def law(scorer, x=X):
    def ask():
        [row] = yield es.Ask(scorer, [x])
        return row

    [row] = es.run(ask())
    return row.probs()


def logp(model, *tokens):
    return torch.log_softmax(model.row(tokens[-2:]), -1)


def softmax(row):
    return torch.softmax(row, -1)


a, b, c = logp(A, 0, 1), logp(B, 0, 1), logp(C, 0, 1)


def test_combine_is_its_sum_in_either_space():
    for weights in ([1.0, -0.5, 0.7], [0.2, 0.3, 0.5]):
        expected = softmax(weights[0] * a + weights[1] * b + weights[2] * c)
        for space in ("logp", "logits"):
            assert torch.allclose(law(s.combine([A, B, C], weights, space=space)), expected, atol=1e-12)
    head = law(s.combine([A, B], [1, -1], head=(1, 0.3)))
    kept = b >= b.max() + math.log(0.3)
    assert torch.allclose(head, softmax((a - b).masked_fill(~kept, -math.inf)), atol=1e-12)
    assert torch.allclose(law(s.combine([A], [1.0])), a.exp(), atol=1e-12)


def test_tokens_that_a_part_excludes_and_heads_that_a_guide_forbids():
    without = A | es.bias({2: -math.inf})
    assert law(s.combine([A, without], [0.5, 0.5]))[2] == 0
    agreed = law(s.combine([A, without], [1, -0.5]))
    assert torch.allclose(agreed[2] / agreed[1], ((a[2] - 0.5 * a[2]) - (a[1] - 0.5 * logsm(without)[1])).exp())
    only_best = s.combine([A, B], [1, -1], head=(0, 1.0))
    second = int(a.argsort(descending=True)[1])
    if second == VOCAB.size - 1:
        second = int(a.argsort(descending=True)[2])
    guided = law(only_best * regex(VOCAB[second].decode()), es.Prefix([0, 1]))
    assert guided[second] > 0


def logsm(scorer):
    return law(scorer).log()


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("t", [0.5, 1.0])
def test_contrast_is_the_original_form(lam, t):
    amateur = torch.log_softmax(b / t, -1)
    expected = softmax((a - lam * amateur).masked_fill(~plausible(a, 0.2), -math.inf))
    assert torch.allclose(law(s.contrast(A, B, lam, alpha=0.2, temperature=t)), expected, atol=1e-12)


def test_limits_of_contrast():
    same = law(s.contrast(A, A, alpha=0.3))
    kept = plausible(a, 0.3).double()
    assert torch.allclose(same, kept / kept.sum(), atol=1e-12)
    assert law(s.contrast(A, B, alpha=1.0)).argmax() == a.argmax()
    assert float(law(s.contrast(A, B, alpha=1.0)).max()) == 1.0
    beta = law(s.contrast(A, A, alpha=0.0, beta=0.7))
    assert torch.allclose(beta, a.exp(), atol=1e-12)
    other = law(s.contrast(A, B, alpha=0.2, beta=0.7))
    assert torch.allclose(other, softmax((1.7 * a - 0.7 * b).masked_fill(~plausible(a, 0.2), -math.inf)), atol=1e-12)


def test_the_amateur_may_see_the_end_of_the_prompt_only():
    deep = es.models.Table.random(V, 9, seed=4, vocab=VOCAB)
    x = es.Prefix([0, 1, 2]) + 3
    seen = torch.log_softmax(deep.row((2, 3)), -1)
    full = torch.log_softmax(A.row((2, 3)), -1)
    expected = softmax((full - seen).masked_fill(~plausible(full, 0.1), -math.inf))
    assert torch.allclose(law(s.contrast(A, deep, last=1), x), expected, atol=1e-12)


def test_proxy_is_its_sum_and_its_limits_hold():
    assert torch.allclose(law(s.proxy(A, B, C)), softmax(a + b - c), atol=1e-12)
    assert torch.allclose(law(s.proxy(A, B, B)), a.exp(), atol=1e-12)
    assert torch.allclose(law(s.proxy(A, B, A)), b.exp(), atol=1e-12)
    assert torch.allclose(law(s.proxy(A, B, C, a=0.3)), softmax(a + 0.3 * (b - c)), atol=1e-12)


def test_each_model_is_asked_once_in_a_turn():
    models = [es.models.Table.random(V, 2, seed=k) for k in range(3)]
    es.run(es.sample(s.proxy(*models), X, es.stop.budget(5), es.Rng(0)))
    assert [m.passes for m in models] == [5, 5, 5]
    large, tuned = (es.models.Table.random(V, 2, seed=k) for k in range(2))
    es.run(es.sample(s.proxy(large, tuned, large), X, es.stop.budget(5), es.Rng(0)))
    assert (large.passes, tuned.passes) == (5, 5)


def test_prompts_against_prompts():
    model = es.models.Table.random(V, 6, seed=6, vocab=VOCAB)

    def z(*tokens):
        return torch.log_softmax(model.row(tokens), -1)

    context, question = es.Prefix([3, 2]), es.Prefix([0])
    cad = s.context_aware(model, context, question, a=0.5)
    assert cad.prompt.ids() == [3, 2, 0]
    assert torch.allclose(law(cad, cad.prompt + 1), softmax(1.5 * z(3, 2, 0, 1) - 0.5 * z(0, 1)), atol=1e-12)
    empty = s.context_aware(model, es.Prefix(), question)
    assert torch.allclose(law(empty, empty.prompt), z(0).exp(), atol=1e-12)

    noisy = s.instructive(model, es.Prefix([1, 2]), es.Prefix([3]), epsilon=0.3)
    assert torch.allclose(law(noisy, noisy.prompt + 0), softmax(z(1, 2, 0) - 0.3 * z(3, 0)), atol=1e-12)
    same = s.instructive(model, es.Prefix([1, 2]), es.Prefix([1, 2]), epsilon=0.3)
    assert torch.allclose(law(same, same.prompt), softmax(0.7 * z(1, 2)), atol=1e-12)

    x = es.Prefix([1])
    assert torch.allclose(law(s.lqcd(model, es.Prefix([2]), a=0.8), x + 0), softmax(1.8 * z(1, 0) - 0.8 * z(2, 0)), atol=1e-12)
    assert torch.allclose(law(s.lqcd(model, es.Prefix([1])), x), z(1).exp(), atol=1e-12)
    acd = s.adversarial(model, es.Prefix([0]), es.Prefix([3]), a=0.4)
    assert torch.allclose(law(acd, x + 2), softmax(z(0, 1, 2) - 0.4 * z(3, 1, 2)), atol=1e-12)


def test_instructions_are_spoilt_as_named():
    lm = speaks(["Tell me the name of the largest moon of Jupiter: Ganymede"], chat=True)
    text = "Tell me the name of the largest moon"

    def noisy(kind, seed=0):
        scorer = s.instructive(lm, text, kind, rng=es.Rng(seed))
        return lm.vocab.join(scorer.parts[1].prefix(scorer.prompt).ids()).decode("utf-8", "replace")

    assert "opposite" in noisy("opposite")
    assert text in noisy("opposite")
    assert noisy("null") == "[user][assistant]"
    words = noisy("shuffled").removeprefix("[user]").removesuffix("[assistant]").split()
    assert 0 < len(words) < len(text.split())
    assert set(words) <= set(text.split())
    assert noisy("shuffled") == noisy("shuffled") != noisy("shuffled", seed=5)
    assert text not in noisy("random")
    assert s.instructive(lm, text).prompt.ids() == lm.prompt(text).ids()
    with pytest.raises(es.InvalidInput, match="use 'opposite', 'null', 'shuffled', 'random'"):
        s.instructive(lm, text, "inverse")
    with pytest.raises(es.InvalidInput, match="the prompt is a prefix"):
        s.instructive(A, X)
    with pytest.raises(es.InvalidInput, match="a bare scorer reads no text"):
        s.context_aware(A, "context", "question")


def test_aed_is_its_rule():
    model = es.models.Table.random(V, 6, seed=8, vocab=VOCAB)

    def z(*tokens):
        return torch.log_softmax(model.row(tokens), -1)

    def size(row, mass=0.8):
        return int((row.exp().sort(descending=True).values.cumsum(-1) < mass - 1e-12).sum()) + 1

    scorer = s.aed(model, es.Prefix([3]), bias=0.5, top_p=0.8, first=2)
    prompts = [es.Prefix([0, 1]), es.Prefix([2]), es.Prefix([1, 1])]
    most = scorer.calibrate(prompts)
    assert most == max(size(z(*x.ids())) for x in prompts)
    own, other = z(0, 2, 1), z(3, 1)
    c = torch.sigmoid(torch.tensor(size(own) - size(other) - 0.5 * most, dtype=torch.float64))
    assert torch.allclose(law(scorer, es.Prefix([0, 2]) + 1), softmax((1 - c) * own + c * other), atol=1e-9)
    late = es.Prefix([0, 2]) + 1 + 1
    assert torch.allclose(law(scorer, late), z(0, 2, 1, 1).exp(), atol=1e-12)
    with pytest.raises(es.InvalidInput, match="call calibrate"):
        law(s.aed(model, es.Prefix([3])))
    off = s.aed(model, es.Prefix([3]), bias=1e6, size=3)
    assert torch.allclose(law(off, X), z(0, 1).exp(), atol=1e-9)


class Counted(es.models.Table):
    rows = 0

    def forward(self, prefixes, want):
        self.rows += len(prefixes)
        return super().forward(prefixes, want)


@pytest.mark.parametrize("target", ["contrast", "rapid"])
def test_speculation_takes_the_amateur_s_rows_from_drafting(target):
    """40 rounds of 3 drafted tokens: each of the amateur's rows is computed once, a round needs 4 at most."""
    source = es.models.Table.random(40, 2, seed=1)
    expert = Counted(40, 2, source.row)
    amateur = Counted(
        40, 1, lambda context: source.row(context[-1:]) * 0.3 + es.models.Table.random(40, 1, seed=1).row(context)
    )
    scorer = s.contrast(expert, amateur) if target == "contrast" else es.drafting.Enriched(expert, amateur, eta=2.0)
    drafter, rounds = es.drafting.DraftModel(amateur, tokens=3), []

    def passes(kind, value):
        if kind == "pass" and value[0] is expert:
            rounds.append(1)

    stop = es.stop.budget(200)
    [found] = es.run(es.speculate(scorer, es.Prefix([0]), stop, drafter, v.Rejection(), es.Rng(0)), trace=passes)
    assert amateur.rows <= 4 * len(rounds)
    assert len(found.written()) == 200
    [plain] = es.run(
        es.speculate(scorer, es.Prefix([0]), stop, es.drafting.DraftModel(amateur, tokens=3), v.Rejection(), es.Rng(0))
    )
    assert plain.ids() == found.ids()


WRONG = [
    lambda: s.combine([], []),
    lambda: s.combine([A], [1, 2]),
    lambda: s.combine([A, B], [-1, -1]),
    lambda: s.combine([A, B], [1, 1], head=(2, 0.1)),
    lambda: s.combine([A, B], [1, 1], space="probs"),
    lambda: s.combine([A | es.temperature(0.5), B], [1, 1], space="logits"),
    lambda: s.combine([A, es.models.Table.random(4, 1, 0)], [1, 1]),
    lambda: s.combine([A, "B"], [1, 1]),
    lambda: s.contrast(A, B, lam=-1.0),
    lambda: s.contrast(A, B, lam=0.5, beta=0.5),
    lambda: s.contrast(A, B, temperature=0.0),
    lambda: s.contrast(A, B, last=0),
    lambda: s.proxy(A, B, C, a=-1.0),
    lambda: s.aed(A | es.top_k(1), es.Prefix([1])),
    lambda: s.instructive(A, X, es.Prefix([1]), epsilon=1.0),
]


@pytest.mark.parametrize("make", WRONG)
def test_wrong_parts_are_refused_when_built(make):
    with pytest.raises(es.InvalidInput):
        make()
