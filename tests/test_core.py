"""The nouns: prefixes, stops, rows, the loop."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

import espalier as es
from espalier import stop
from espalier.testing import check_scorer
from espalier.text.vocab import Vocab

MODEL = es.models.Table.random(vocab_size=5, depth=2, seed=1)
VOCAB = Vocab([b"a", b"b", b"ab", b"ba", None], end=[4])


def test_prefixes_share_their_past_and_forget_it():
    x = es.Prefix([1, 2])
    y, z = x + 3, x + 3
    assert y is not z
    assert y.ids() == z.ids() == [1, 2, 3]
    assert y.parent is z.parent is x
    alive = weakref.ref(y)
    del y
    gc.collect()
    assert alive() is None


def test_origin_divides_given_from_written():
    x = es.Prefix([1, 2]) + 3 + 4
    turn = x.given([5, 6]) + 7
    assert x.written() == [3, 4]
    assert turn.written() == [7]
    assert turn.ids() == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(ValueError, match="not an ancestor"):
        x.since(turn)


def test_a_long_chain_is_dropped_without_recursion():
    x = es.Prefix([0])
    for _ in range(200_000):
        x = x + 1
    assert x.tail(3) == [1, 1, 1]
    del x


def test_stop_strings_straddle_tokens_and_stay_out_of_the_prompt():
    s = stop.strings(["bb"], VOCAB)
    x = es.Prefix([1])  # "b" of the prompt does not count
    assert s(x + 1) is None
    assert s(x + 1 + 1) == "stop"
    assert s(x + 2 + 3) == "stop"  # ab|ba
    assert s(x + 2 + 0 + 3) is None  # ab a ba
    assert s.cut(b"abba") == 1
    assert s.held(b"ab") == 1


def test_stops_combine_in_order():
    s = stop.end(VOCAB.end) | stop.budget(1)
    assert s(es.Prefix([4])) is None  # an end token in the prompt ends nothing
    assert s(es.Prefix([0]) + 4) == "stop"
    assert s(es.Prefix([0]) + 0) == "length"


def test_stages_out_of_order_are_refused():
    with pytest.raises(es.InvalidInput, match="write it earlier"):
        MODEL | es.temperature(0.5) | es.repetition(1.2)
    with pytest.raises(es.InvalidInput, match="write it earlier"):
        MODEL | es.top_p(0.5) | es.temperature(0.5)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: es.temperature(-1),
        lambda: es.top_p(1.5),
        lambda: es.top_p(0),
        lambda: es.top_k(0),
        lambda: es.min_p(2),
        lambda: es.repetition(0),
        lambda: es.presence(9),
        lambda: MODEL | es.bias({7: 1.0}),
        lambda: es.Rng(-1),
        lambda: stop.budget(0),
        lambda: stop.strings([""], VOCAB),
        lambda: stop.deadline(0),
        lambda: es.drafting.PromptLookup(tokens=0),
    ],
)
def test_impossible_values_are_refused_at_once(bad):
    with pytest.raises(es.InvalidInput):
        bad()


def test_scorers_are_normalised_and_do_not_mix_rows():
    prefixes = [es.Prefix([0]), es.Prefix([1]) + 2, es.Prefix([0]) + 3 + 3]
    for scorer in (
        MODEL,
        MODEL | es.repetition(1.3) | es.frequency(0.5) | es.temperature(0.7) | es.top_p(0.8),
        es.models.NGram([[0, 1, 2, 0, 1]], 5),
    ):
        check_scorer(scorer, prefixes)


def test_one_pass_serves_all_decoders_of_a_turn():
    model = es.models.Table.random(vocab_size=5, depth=2, seed=1)
    x = es.Prefix([0])
    es.run(*(es.sample(model, x, stop.budget(6), es.Rng(i)) for i in range(8)))
    assert model.passes == 6


def test_an_error_in_a_decoder_reaches_the_caller_and_closes_the_others():
    closed = []

    def fails():
        yield es.Ask(MODEL, [es.Prefix([0])])
        raise RuntimeError("boom")

    def goes_on():
        try:
            while True:
                yield es.Ask(MODEL, [es.Prefix([0])])
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="boom"):
        es.run(goes_on(), fails())
    assert closed == [True]


def test_a_model_error_can_be_caught_by_the_decoder_that_asked():
    class Broken(es.Model):
        vocab_size = 5

        def forward(self, prefixes, want):
            raise MemoryError("too large")

    def careful():
        try:
            yield es.Ask(Broken(), [es.Prefix([0])])
        except MemoryError:
            return "fell back"

    assert es.run(careful()) == ["fell back"]


def test_several_asks_are_answered_in_one_turn():
    other = es.models.Table.random(vocab_size=5, depth=1, seed=2)

    def both():
        a, b = yield es.Ask(MODEL, [es.Prefix([0])]), es.Ask(other | es.temperature(0.5), [es.Prefix([0])] * 2)
        return len(a), len(b)

    assert es.run(both()) == [(1, 2)]


def test_what_is_not_a_question_is_refused():
    def wrong():
        yield 5

    with pytest.raises(es.InvalidInput, match="yield Ask"):
        es.run(wrong())


def test_mixture_averages_laws():
    other = es.models.Table.random(vocab_size=5, depth=1, seed=2)
    mix = es.shaping.Mixture([MODEL, other], lambda logps: torch.logaddexp(logps[0], logps[1]))

    def probs(scorer):
        [row] = yield es.Ask(scorer, [es.Prefix([0])])
        return row.probs()

    a, b, both = es.run(probs(MODEL), probs(other), probs(mix))
    assert torch.allclose(both, (a + b) / 2, atol=1e-12)


def test_a_question_that_cannot_be_answered_fails_alone():
    class Short(es.models.Table):
        def forward(self, prefixes, want):
            if max(map(len, prefixes)) > 4:
                raise es.InvalidInput("more than four tokens")
            return super().forward(prefixes, want)

    table = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    model, loop = Short(4, 2, lambda context: table.row(context)), es.Loop()
    numbers = [loop.add(es.sample(model, es.Prefix([0] * n), es.stop.budget(3), es.Rng(0))) for n in (1, 6, 2)]
    while loop:
        loop.turn()
    assert sorted(loop.results) == [numbers[0], numbers[2]]
    assert "four tokens" in str(loop.errors[numbers[1]])


class Canvas:
    """Tokens with holes (None): hashable by identity, and its own origin."""

    def __init__(self, slots):
        self.slots = slots

    @property
    def origin(self):
        return self


class FillsHoles(es.Model):
    """A row for the first hole of a canvas: the token after the one before it."""

    vocab_size = 5

    def forward(self, prefixes, want):
        logits = torch.full((len(prefixes), 5), -9.0)
        for row, canvas in zip(logits, prefixes, strict=True):
            at = canvas.slots.index(None)
            row[(canvas.slots[at - 1] + 1) % 5] = 9.0
        return es.Rows(logits, prefixes)


def test_a_model_may_be_asked_about_other_things_than_prefixes():
    """The loop needs of a question that it is hashable and has an origin; equal questions share a row, several a pass."""
    model = FillsHoles()

    def fill(canvas):
        while None in canvas.slots:
            [row, again] = yield es.Ask(model, [canvas, canvas])
            assert row.argmax() == again.argmax()
            slots = list(canvas.slots)
            slots[slots.index(None)] = row.argmax()
            canvas = Canvas(slots)
        return canvas.slots

    loop = es.Loop(scheduler=es.Scheduler(rows=8))
    numbers = [loop.add(fill(Canvas([start, None, None, 1, None]))) for start in (0, 2)]
    while loop:
        loop.turn()
    assert [loop.results[number] for number in numbers] == [[0, 1, 2, 1, 2], [2, 3, 4, 1, 2]]
    assert loop.passes == 3
