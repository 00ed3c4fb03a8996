"""AdaDec and DIVER as decoders: the text of the composed scorer, fewer passes, guides and dead ends, the learnt threshold."""

from __future__ import annotations

import math

import pytest
from toys import random_lm

import espalier as es
from espalier import decoders as d
from espalier import shaping as s
from espalier.text import Vocab

VOCAB = Vocab([b"a", b"b", b"c", None], end=[3])
MODEL = es.models.Table.random(4, 3, seed=7, vocab=VOCAB)
STOP = es.stop.budget(10) | es.stop.end([3])


@pytest.mark.parametrize("threshold", [0.0, 0.8, 1.1, math.inf])
@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_the_text_is_that_of_the_composed_scorer(threshold, ahead):
    differs = 0
    for start in range(3):
        x = es.Prefix([start])
        [[found]] = es.run(d.AdaDec(threshold, 3, ahead)(MODEL, x, STOP, es.Rng(0)))
        scorer = s.adadec(MODEL, threshold, 3, ahead) | es.temperature(0)
        [same] = es.run(es.sample(scorer, x, STOP, es.Rng(0)))
        [greedy] = es.run(es.sample(MODEL | es.temperature(0), x, STOP, es.Rng(0)))
        assert found.prefix.ids() == same.ids()
        differs += found.prefix.ids() != greedy.ids()
    assert (differs > 0) == (threshold < 1.1 and ahead > 0) or threshold == 1.1


def test_what_was_tried_is_not_asked_again():
    x, stop = es.Prefix([0]), es.stop.budget(10)
    MODEL.passes = 0
    es.run(d.AdaDec(math.inf)(MODEL, x, stop, es.Rng(0)))
    assert MODEL.passes == 10
    MODEL.passes = 0
    [[found]] = es.run(d.AdaDec(0.0, 2, 3)(MODEL, x, stop, es.Rng(0)))  # pauses at every token
    steps = len(found.prefix.written())
    most = 1 + 3 * steps  # the first row, then three passes of trials per token: the chosen one's row is among them
    assert MODEL.passes <= most


@pytest.mark.parametrize("guide", ["(ab|ba|c)*", "a(b|c)a", "(abc){2}"])
def test_trials_keep_to_a_guide(guide):
    term = es.regex(guide)
    for start in range(3):
        [[found]] = es.run(
            d.AdaDec(0.0, 3, 4)(MODEL * term, es.Prefix([start]), es.stop.budget(9) | es.stop.end([3]), es.Rng(0))
        )
        written = [t for t in found.prefix.written() if t != 3]
        assert found.prefix.last == 3 or len(written) == 9
        assert found.prefix.last != 3 or term.matches(VOCAB.join(written))


def test_a_trial_that_runs_into_a_dead_end_loses():
    class Fine:
        """After "b" nothing may follow, and no mask knows."""

        mask = None

        def start(self):
            return "a"

        def advance(self, state, token):
            return None if state == "b" else "ab"[token] if token < 2 else state

        def allowed(self, state, token):
            return state != "b"

    likely_b = es.models.Table(4, 0, lambda context: __import__("torch").tensor([0.0, 0.5, -9.0, -9.0]), VOCAB)
    [[found]] = es.run(d.AdaDec(0.0, 2, 2)(likely_b * Fine(), es.Prefix([2]), es.stop.budget(4), es.Rng(0)))
    assert 1 not in found.prefix.written()[:-1]
    assert len(found.prefix.written()) == 4


def test_by_name_and_by_object_in_generate():
    lm = random_lm(2)
    options = {"max_tokens": 8, "seed": 1}
    named = lm.generate(es.raw("ab"), decoder="adadec:0.5, beams=2, ahead=3", **options)
    made = lm.generate(es.raw("ab"), decoder=d.AdaDec(0.5, 2, 3), **options)
    scorer = s.adadec(lm.scorer, 0.5, 2, 3)
    composed = lm.generate(es.raw("ab"), scorer=scorer, temperature=0, drafter=None, **options)
    shaped = lm.generate(es.raw("ab"), shapers=["adadec:0.5, beams=2, ahead=3"], **options)
    assert named.tokens == made.tokens == composed.tokens == shaped.tokens
    score = lambda texts: [float(x.ids().count(97)) for x in texts]  # noqa: E731
    out = lm.generate(es.raw("ab"), decoder=d.Diver(score, lam=3.0), **options)
    [by_hand] = es.run(d.diver(lm.scorer, lm.prompt(es.raw("ab")), es.stop.budget(8) | es.stop.end(lm.vocab.end), score, 3.0))
    assert out.tokens == by_hand.written()


def test_learning_counts_what_was_written():
    prompt = es.Prefix([0, 1, 2])
    text = es.Prefix([0, 0, 1, 3], prompt, written=True)
    whole = es.Prefix([0, 1, 2, 0, 0, 1, 3])
    x, seen = es.Prefix([0, 1, 2]), []
    for token in [0, 0, 1, 3]:
        p = MODEL.forward([x], frozenset())[0].dense().exp()
        seen.append((-float((p * p.log()).sum()), int(p.argmax()) == token))
        x = x + token
    from espalier.shaping.control.adadec import cut

    assert d.AdaDec.learn(MODEL, [text]) == pytest.approx(cut(seen))
    assert s.adadec.learn(MODEL, [whole, text]) == pytest.approx(d.AdaDec.learn(MODEL, [whole, text]))


def test_wrong_settings_are_refused():
    for wrong in (
        lambda: d.AdaDec(math.nan),
        lambda: d.AdaDec(1.0, beams=0),
        lambda: d.AdaDec(1.0, ahead=-1),
        lambda: d.AdaDec(1.0, lam=0),
        lambda: d.Diver("score"),
        lambda: d.Diver(len, span="up"),
        lambda: d.AdaDec.learn(MODEL, []),
    ):
        with pytest.raises(es.InvalidInput):
            wrong()
