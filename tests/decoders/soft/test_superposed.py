"""Superposed drafts: the card's cases, and a step-by-step reference on a random transformer."""

from __future__ import annotations

import math

import pytest
import torch
from toys import transformer

import espalier as es
from espalier.decoders import NGrams, Superposed
from espalier.decoders.soft import superposed
from espalier.errors import InvalidInput, Unsatisfiable
from espalier.scorer import Ask

MODEL = transformer(seed=3)
X = es.Prefix([1, 2])
STOP = es.stop.end([0]) | es.stop.budget(6)


def found(decoder: Superposed, scorer: es.Scorer = MODEL, stop: es.stop.Stop = STOP) -> list[tuple[tuple[int, ...], float]]:
    [finds] = es.run(decoder(scorer, X, stop, es.Rng(0)))
    return [(tuple(f.prefix.written()), f.log_weight) for f in finds]


def row(ids: list[int], embeds: list[torch.Tensor]) -> torch.Tensor:
    def ask():
        x = es.Prefix(ids)
        if not embeds:
            return (yield Ask(MODEL, [x]))
        return (yield Ask(MODEL, [x], embeds=[torch.stack(embeds)]))

    [rows] = es.run(ask())
    return rows.logits[0].double().log_softmax(-1)


def test_one_draft_without_n_grams_is_greedy():
    [greedy] = es.run(es.sample(MODEL | es.temperature(0), X, STOP, es.Rng(0)))
    [(text, score)] = found(Superposed(1, alpha=0, candidates=23))
    assert list(text) == greedy.written()
    total, ids = 0.0, X.ids()
    for token in text:
        total, ids = total + float(row(ids, [])[token]), [*ids, token]
    assert score == pytest.approx(total, abs=1e-4)


def test_n_grams_are_counted_as_by_hand():
    grams = NGrams([[1, 2, 3, 1, 2, 4], [2, 4]], orders=(2, 3), weights=(1, 3))
    assert grams([9, 2]) == pytest.approx({3: 0.25 * 1 / 3, 4: 0.25 * 2 / 3})
    assert grams([1, 2]) == pytest.approx({3: 0.25 / 3 + 0.75 / 2, 4: 0.25 * 2 / 3 + 0.75 / 2})
    assert grams([7]) == {}
    assert grams([]) == {}


def by_hand(k: int, grams: NGrams, alpha: float, candidates: int, length: int) -> list[tuple[tuple[int, ...], float]]:
    """The algorithm on lists, with no end token: k drafts, a mixture of embeddings as every next input."""
    first = row(X.ids(), [])
    drafts = [((int(t),), float(first[t])) for t in first.topk(k).indices]
    mixed: list[torch.Tensor] = []
    for _ in range(length - 1):
        weights = torch.tensor([score for _, score in drafts]).softmax(-1)
        assert float(weights.sum()) == pytest.approx(1.0)
        mixed.append(sum(w * MODEL.embed([text[-1]])[0] for w, (text, _) in zip(weights, drafts, strict=True)))
        p = row(X.ids(), mixed)
        top = p.topk(candidates).indices
        shares = p[top].log_softmax(-1)
        grown = []
        for text, score in drafts:
            known = grams([*X.ids(), *text])
            hit = any(known.get(int(t), 0) for t in top)
            for t, share in zip(top.tolist(), shares.tolist(), strict=True):
                if known.get(t, 0):
                    grown.append(((*text, t), score + (1 - alpha) * share + alpha * math.log(known[t])))
                elif not hit:
                    grown.append(((*text, t), score + (1 - alpha) * share - 200))
        drafts = sorted(grown, key=lambda d: -d[1])[:k]
    return drafts


@pytest.mark.parametrize("k", [1, 3])
def test_drafts_are_those_of_the_algorithm_on_lists(k):
    bits = torch.Generator().manual_seed(4)
    grams = NGrams([torch.randint(0, 23, (4000,), generator=bits).tolist()], orders=(2, 3))
    expected = by_hand(k, grams, 0.54, 9, 5)
    texts = found(Superposed(k, grams), stop=es.stop.budget(5))
    assert found(Superposed(2, [[1, 2, 3]]), stop=es.stop.budget(3)) == found(
        Superposed(2, NGrams([[1, 2, 3]])), stop=es.stop.budget(3)
    )
    assert [text for text, _ in texts] == [text for text, _ in expected]
    assert [score for _, score in texts] == pytest.approx([score for _, score in expected], abs=1e-3)


def test_one_row_per_token_whatever_the_number_of_drafts():
    model, rows = transformer(seed=3), []
    plan = model.kv.plan
    model.kv.plan = lambda *args, **kwargs: rows.append(made := plan(*args, **kwargs)) or made
    found(Superposed(4, alpha=0), model, es.stop.budget(6))
    assert [made.rows for made in rows] == [2, 1, 1, 1, 1, 1]


def test_a_guide_holds_for_every_draft_and_what_cannot_be_is_said():
    vocab = es.text.vocab.Vocab([bytes([97 + i]) for i in range(22)] + [None], end=[22])
    model = transformer(seed=3)
    model.vocab = vocab
    guide, stop = es.regex("(ab|cd|ef){2}"), es.stop.end([22]) | es.stop.budget(6)
    [finds] = es.run(Superposed(3, alpha=0)(model * guide, X, stop, es.Rng(0)))
    assert len(finds) == 3
    assert all(guide.matches(vocab.join(f.prefix.written())) for f in finds)
    with pytest.raises(Unsatisfiable):
        es.run(Superposed(3, alpha=0)(model * es.regex("a") * es.regex("b"), X, stop, es.Rng(0)))
    with pytest.raises(InvalidInput, match="input embeddings"):
        found(Superposed(2, alpha=0), es.models.Table.random(23, 1, seed=0))
    with pytest.raises(InvalidInput, match="leave out"):
        found(Superposed(2, alpha=0), MODEL | es.temperature(0.5))
    for wrong in ({"drafts": 0}, {"alpha": 2.0}, {"alpha": 0.5, "ngrams": None}, {"candidates": 0}, {"ngrams": 7}):
        with pytest.raises(InvalidInput):
            Superposed(**{"drafts": 2, "alpha": 0, **wrong})


class Multiples(es.TokenConstraint):
    """Multiples of 5, each another than the one before; with a mask or by checks alone, and it counts the checks."""

    def __init__(self, masks: bool) -> None:
        self.masks, self.checks = masks, 0

    def start(self) -> int:
        return -1

    def advance(self, state: int, token: int) -> int | None:
        return token if token % 5 == 0 and token != state else None

    def allowed(self, state: int, token: int) -> bool:
        self.checks += 1
        return self.advance(state, token) is not None

    def mask(self, state: int) -> torch.Tensor | None:
        return torch.tensor([self.advance(state, token) is not None for token in range(23)]) if self.masks else None


def test_checks_masks_and_both_find_the_same_drafts(monkeypatch):
    texts, checks = [], []
    for masks in (True, False):
        for most in (0, 3, 23):
            monkeypatch.setattr(superposed, "CHECKS", most)
            narrow = Multiples(masks)
            texts.append(found(Superposed(2, alpha=0, candidates=2), MODEL * narrow, es.stop.budget(4)))
            checks.append(narrow.checks)
    assert all(text == texts[0] for text in texts)
    assert all(token % 5 == 0 for text, _ in texts[0] for token in text)
    assert checks[0] < checks[2]  # with a mask, what is not among the likeliest is not checked
