"""AdaDec: trials from the rows of a toy, limits, the learnt threshold."""

from __future__ import annotations

import math

import pytest
import torch

import espalier as es
from espalier import shaping as s
from espalier.shaping.control.adadec import cut
from espalier.text import Vocab

MODEL = es.models.Table.random(5, 2, seed=3)


def logp(*tokens):
    return torch.log_softmax(MODEL.row(tokens[-2:]), -1)


def row(scorer, x):
    def ask():
        [found] = yield es.Ask(scorer, [x])
        return found.logits

    [found] = es.run(ask())
    return found


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_a_trial_scores_the_mean_of_its_log_probabilities(ahead):
    start = (0, 1)
    p = logp(*start).exp()
    entropy = -float((p * p.log()).sum())
    found = row(s.adadec(MODEL, entropy - 1e-9, beams=3, ahead=ahead, lam=0.5), es.Prefix(start))
    for v in p.topk(3).indices.tolist():
        text, total = [*start, v], float(logp(*start)[v])
        for _ in range(ahead):
            best = int(logp(*text).argmax())
            total, text = total + float(logp(*text)[best]), [*text, best]
        assert float(found[v]) == pytest.approx(0.5 * total / (ahead + 1), abs=1e-12)
    assert torch.equal(row(s.adadec(MODEL, entropy + 1e-9), es.Prefix(start)), MODEL.row(start))


def test_an_end_token_ends_a_trial_and_infinity_is_greedy():
    model = es.models.Table(3, 0, lambda context: torch.tensor([0.0, -0.1, -9.0]), Vocab([b"a", b"b", None], end=[0]))
    p = torch.log_softmax(torch.tensor([0.0, -0.1, -9.0], dtype=torch.float64), -1)
    found = row(s.adadec(model, 0.1, beams=2, ahead=3), es.Prefix([1]))
    assert float(found[0]) == pytest.approx(float(p[0]), abs=1e-6)
    assert float(found[1]) == pytest.approx(float(p[1] + p[0]) / 2, abs=1e-6)
    [plain] = es.run(es.sample(MODEL | es.temperature(0), es.Prefix([0]), es.stop.budget(9), es.Rng(0)))
    [never] = es.run(es.sample(s.adadec(MODEL, math.inf) | es.temperature(0), es.Prefix([0]), es.stop.budget(9), es.Rng(0)))
    assert plain.ids() == never.ids()


def test_a_second_best_token_with_a_better_continuation_is_taken():
    after = {0: [0.0, 0.1, 0.0], 1: [0.0, 0.0, 9.0], 2: [0.0, 0.0, 9.0]}
    model = es.models.Table(3, 1, lambda context: torch.tensor([0.1, 0.0, -9.0] if context == (2,) else after[context[0]]))
    x = es.Prefix([2])
    [greedy] = es.run(es.sample(model | es.temperature(0), x, es.stop.budget(1), es.Rng(0)))
    [tried] = es.run(es.sample(s.adadec(model, 0.5, 2, 1) | es.temperature(0), x, es.stop.budget(1), es.Rng(0)))
    assert (greedy.last, tried.last) == (0, 1)


def test_the_threshold_is_learnt_from_right_texts():
    texts = [es.Prefix([0, 1, 2, 3, 4, 0, 2, 1, 1, 0, 3, 3, 2]), es.Prefix([2, 2, 0, 4, 4])]
    learnt = s.adadec.learn(MODEL, texts)
    seen = []
    for text in texts:
        ids = text.ids()
        for at in range(1, len(ids)):
            p = logp(*ids[max(0, at - 2) : at]).exp()
            seen.append((-float((p * p.log()).sum()), int(p.argmax()) == ids[at]))
    assert learnt == pytest.approx(cut(seen))

    def accuracy(t):
        right = [h < t for h, ok in seen if ok]
        wrong = [h >= t for h, ok in seen if not ok]
        return sum(right) / len(right) / 2 + sum(wrong) / len(wrong) / 2

    assert accuracy(learnt) >= max(accuracy(h) for h, _ in seen) - 1e-12
    assert cut([(0.5, True)]) == math.inf
