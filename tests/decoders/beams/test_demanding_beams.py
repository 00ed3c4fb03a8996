"""Beams that owe something: banks, NeuroLogic, attributes, spans of a passage; against enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import toys

import espalier as es
from decoders.beams.brute import X, stop, texts
from espalier.constraints import contains
from espalier.constraints.words.phrases import absent
from espalier.decoders import Banks, Beam, Conditional, NeuroLogic, extract
from espalier.decoders.beams.span_extraction import spans
from espalier.errors import InvalidInput, Unsatisfiable
from espalier.testing import assert_same_law, exact_law
from espalier.text import Vocab

VOCAB = Vocab([b"a", b"b", None, b"ab"], end=[2])
LENGTH = 4


def table(seed):
    return es.models.Table.random(4, 2, seed=seed, vocab=VOCAB)


def found_by(decoder, model, length=LENGTH):
    [found] = es.run(decoder(model, X, stop(length), es.Rng(0)))
    return [(tuple(f.prefix.written()), f.log_weight) for f in found]


def containing(model, *phrases, length=LENGTH):
    every = texts(model, length)
    return {t: p for t, p in every.items() if t[-1] == 2 and all(w in VOCAB.join(t) for w in phrases)}


@pytest.mark.parametrize("rule", ["grid", "dynamic"])
@pytest.mark.parametrize("phrases", [("bb",), ("ba", "ab"), ("aba",)])
def test_wide_banks_find_the_best_text_that_owes_nothing(rule, phrases):
    for seed in range(5):
        model = table(seed)
        true = containing(model, *(p.encode() for p in phrases))
        found = found_by(Banks(contains(*phrases), 4**LENGTH, rule, norm=0), model)
        best = max(true, key=true.__getitem__)
        assert found[0] == (best, pytest.approx(true[best]))


@pytest.mark.parametrize("rule", ["grid", "dynamic"])
def test_narrow_banks_always_write_what_they_owe(rule):
    for seed in range(20):
        for text, _ in found_by(Banks(contains("bb", "aa"), 3, rule), table(seed), length=7):
            written = VOCAB.join(text)
            assert b"bb" in written
            assert b"aa" in written


def test_a_guide_that_counts_nothing_has_one_bank():
    guide = es.regex("[ab]{0,8}")
    for seed in range(5):
        model = table(seed)
        for text, score in found_by(Banks(guide, 99, norm=0), model):
            assert score == pytest.approx(texts(model, LENGTH)[text])


def test_neurologic_at_full_width_is_the_best_that_satisfies():
    for seed in range(5):
        model = table(seed)
        every = containing(model, b"ba")
        wanted = {t: p / len(t) for t, p in every.items() if b"aa" not in VOCAB.join(t)}
        method = NeuroLogic(["ba", [absent("aa")]], 4**LENGTH, alpha=0.0, tolerance=9)
        found = [(t, s) for t, s in found_by(method, model) if t[-1] == 2]
        best = max(wanted, key=wanted.__getitem__)
        assert found[0] == (best, pytest.approx(wanted[best]))
        assert not any(b"aa" in VOCAB.join(t) for t, _ in found)


def test_looking_ahead_meets_more_clauses():
    met = {0: 0, 3: 0}
    for ahead in met:
        for seed in range(25):
            [(text, _), *_] = found_by(NeuroLogic(["bb", "aab"], 2, ahead=ahead, alpha=0.5), table(seed), length=7)
            met[ahead] += (b"bb" in VOCAB.join(text)) + (b"aab" in VOCAB.join(text))
    plain = 0
    for seed in range(25):
        [(text, _), *_] = found_by(Beam(2, norm="mean"), table(seed), length=7)
        plain += (b"bb" in VOCAB.join(text)) + (b"aab" in VOCAB.join(text))
    assert met[3] > plain
    assert met[0] > plain


def exact_classifier(model, attribute, length):
    """log p(attribute | prefix), by enumeration."""
    every = texts(model, length)

    def one(x):
        written = tuple(x.written())
        inside = {t: p for t, p in every.items() if t[: len(written)] == written}
        total = math.fsum(math.exp(p) for p in inside.values())
        good = math.fsum(math.exp(p) for t, p in inside.items() if attribute(t))
        return math.log(good / total) if good > 0 else -math.inf

    return lambda xs: [one(x) for x in xs]


def test_conditioning_on_an_exact_classifier_is_bayes_rule():
    model = es.models.Table.random(3, 1, seed=2)
    wanted = lambda t: t.count(1) == 1  # noqa: E731
    classifier = exact_classifier(model, wanted, 3)
    true = {t: math.exp(p) for t, p in texts(model, 3).items() if wanted(t)}
    z = math.fsum(true.values())
    scorer = Conditional(model, classifier, alpha=1.0, top=None)
    law = exact_law(lambda rng: es.sample(scorer, X, stop(3), rng), lambda x: tuple(x.written()))
    assert_same_law(law, {t: p / z for t, p in true.items()}, 1e-9)
    [found] = es.run(Beam(27, norm=0)(scorer, X, stop(3), es.Rng(0)))
    best = max(true, key=true.__getitem__)
    assert tuple(found[0].prefix.written()) == best
    assert found[0].log_weight == pytest.approx(math.log(true[best] / z))
    replaced = Beam(27, score=Conditional.score(classifier))
    [found] = es.run(replaced(model, X, stop(3), es.Rng(0)))
    assert tuple(found[0].prefix.written()) == best
    assert found[0].log_weight == pytest.approx(math.log(true[best]))


def test_the_span_is_the_best_of_all_spans():
    for seed in range(20):
        model = es.models.Table.random(4, 3, seed=seed)
        passage = [int(t) for t in torch.randint(0, 3, (7,), generator=torch.Generator().manual_seed(seed))]
        scores = {}
        for i, j in itertools.combinations(range(8), 2):
            context, logp = [0], 0.0
            for token in [*passage[i:j], 3]:
                logp += float(model.row(tuple(context[-3:])).log_softmax(-1)[token])
                context.append(token)
            scores[i, j] = logp
        model.passes = 0
        [(i, j, logp)] = es.run(spans(model, X, passage, es.stop.end([3]), batch=1))
        assert logp == pytest.approx(max(scores.values()))
        assert scores[i, j] == pytest.approx(logp)
        assert model.passes < len(scores)
        [(i, j, _)] = es.run(spans(model, X, passage, es.stop.end([3]), longest=2))
        assert j - i <= 2
    with pytest.raises(InvalidInput, match="empty"):
        es.run(spans(model, X, [], es.stop.end([3])))
    with pytest.raises(InvalidInput, match="end token"):
        es.run(spans(model, X, [1], es.stop.budget(3)))


def test_extraction_from_a_language_model():
    lm = toys.speaks(["Q: who? A: Ada", "Q: when? A: 1843"])
    found = extract(lm, es.raw("Q: who? A: "), "It was Ada in 1843.")
    assert found.text == "Ada"
    assert extract(lm, es.raw("Q: when? A: "), "It was Ada in 1843.").text == "1843"


def test_bad_input():
    for make in (
        lambda: Banks(contains("a"), 0),
        lambda: Banks(contains("a"), 2, "all"),
        lambda: Banks("a", 2),
        lambda: NeuroLogic([], 2),
        lambda: NeuroLogic("ab", 2),
        lambda: NeuroLogic(["a"], 0),
        lambda: Conditional(table(0), len, top=0),
    ):
        with pytest.raises(InvalidInput):
            make()
    with pytest.raises(Unsatisfiable, match="within the length limit"):
        found_by(Banks(contains("abababababab"), 2), table(0), length=3)
    with pytest.raises(InvalidInput, match="vocabulary"):
        found_by(NeuroLogic(["a"], 2), es.models.Table.random(4, 1, seed=0))
