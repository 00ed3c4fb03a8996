"""The pairs that engines get wrong under speculation, each with plain decoding as the reference.

With the same seed matching makes the same draws as plain decoding, so tokens, log-probabilities, reasons to stop and streams
must be equal, not only equal in law. The drafters: one that knows the continuation (whole blocks are accepted, the end of
the text inside them), one that is right half of the time (rollback in every round), one that is always wrong, and real ones.
"""

from __future__ import annotations

import pytest
import torch
from drafters import END, SMALL, VOCAB, V
from one_round import State, Target, assert_exact, drafts, emissions
from toys import random_lm

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.constraints import regex
from espalier.shaping import contrast, guidance, watermark
from espalier.testing import assert_same_law, exact_law

LM = random_lm(seed=4, merged=("ab", "ra"))
OPTIONS = {"drafter": None, "max_tokens": 18, "temperature": 0.9, "top_p": 0.95, "seed": 11}
PROMPT = es.raw("abra")


class Knows(d.Drafter):
    """Proposes the tokens of texts that are known beforehand, every `wrong`-th of them spoilt."""

    def __init__(self, texts, wrong=0, tokens=7):  # type: ignore[no-untyped-def]
        self.texts, self.wrong, self.tokens = [list(text) for text in texts], wrong, tokens

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        yield from ()
        draft, n = d.Draft(x), len(x.written())
        known = next((text for text in self.texts if text[:n] == x.written()), [])
        spoilt = [
            (t + 1) % 3 if self.wrong and (n + i) % self.wrong == 0 else t for i, t in enumerate(known[n : n + self.tokens])
        ]
        draft.extend(0, spoilt)
        return draft


KINDS = ["right", "half", "wrong", "lookup", "model", "recycling"]


def drafter(kind, texts):  # type: ignore[no-untyped-def]
    return {
        "right": lambda: Knows(texts),
        "half": lambda: Knows(texts, wrong=3),
        "wrong": lambda: Knows(texts, wrong=1),
        "lookup": lambda: d.PromptLookup(),
        "model": lambda: d.DraftModel(LM.model | es.temperature(1.3), tokens=3),
        "recycling": lambda: d.TokenRecycling(nodes=8),
    }[kind]()


def same(kind, lm=LM, prompt=PROMPT, **options):  # type: ignore[no-untyped-def]
    """Asserts that a completion with drafts is the plain one, and returns both."""
    options = OPTIONS | options
    known = lm.complete(prompt, **{**options, "stop": (), "max_tokens": options["max_tokens"] + 6})
    plain = lm.complete(prompt, **options)
    drafted = lm.complete(prompt, **options | {"drafter": drafter(kind, [c.tokens for c in known])})
    for a, b in zip(plain, drafted, strict=True):
        assert a.tokens == b.tokens
        assert a.text == b.text
        assert a.finish_reason == b.finish_reason
        assert a.logprobs == b.logprobs  # equal, not close: the same row of the same prefix
    if kind == "right":
        assert drafted.stats.passes < plain.stats.passes
    return plain, drafted


@pytest.mark.parametrize("kind", KINDS)
def test_stop_strings_that_complete_inside_an_accepted_block(kind):
    text = LM.complete(PROMPT, **OPTIONS).text
    stop = [text[at : at + 3] for at in (5, 9)]  # each straddles tokens somewhere
    plain, drafted = same(kind, stop=stop)
    assert plain.finish_reason == "stop"
    assert not any(s in drafted.text for s in stop)
    if kind == "right":
        assert max(drafted.stats.per_pass) > 1
    pieces = list(LM.stream(PROMPT, **OPTIONS | {"drafter": drafter(kind, [plain.tokens]), "stop": stop}))
    assert "".join(pieces) == plain.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"min_p": 0.05, "top_p": None},
        {"logit_bias": {100: 3.0, 101: float("-inf")}},
        {"repetition_penalty": 1.4, "prompt": es.raw("abraabra")},
        {"presence_penalty": 0.7, "frequency_penalty": 0.9},
        {"regex": "[a-z]{3}( [a-z]+)*"},
        {"regex": "[a-m]+", "frequency_penalty": 1.1, "min_p": 0.01},
        {"temperature": 0.0, "frequency_penalty": 1.5},
    ],
    ids=["min-p", "bias", "repetition", "presence and frequency", "regex", "regex, penalty, min-p", "greedy with penalty"],
)
def test_what_shapes_a_row_shapes_every_verified_row(kind, options):
    same(kind, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_several_completions_and_batches(kind):
    same(kind, n=3, max_tokens=9)
    prompts = [es.raw("ab"), es.raw("rarara"), es.raw("xyz zy")]
    options = OPTIONS | {"max_tokens": 9}
    known = [LM.complete(prompt, **options).tokens for prompt in prompts]
    together = LM.complete_all(prompts, **options | {"drafter": drafter(kind, known)})
    assert [c.tokens for c in together] == known


@pytest.mark.parametrize("kind", KINDS)
def test_streams_never_take_a_token_back(kind):
    x, stop = LM.prompt(PROMPT), es.stop.budget(40)
    scorer = LM.model | es.frequency(0.5) | es.temperature(0.9)
    [plain] = es.run(es.sample(scorer, x, stop, es.Rng(3)))
    kept = list(es.settle(es.speculate(scorer, x, stop, drafter(kind, [plain.written()]), v.SampleMatch(), es.Rng(3))))
    assert kept[-1].ids() == plain.ids()
    for before, after in zip([x, *kept], kept[:-1], strict=False):
        assert after.parent is before  # each goes one token further than the last


# Scorers of several streams

TABLE = es.models.Table.random(V, 2, seed=3, vocab=VOCAB)
SCORERS = {
    "guidance": lambda: guidance(TABLE, es.Prefix([1, 1]), 2.0),
    "guidance under a penalty and a regex": lambda: (
        (guidance(TABLE | es.frequency(0.4), es.Prefix([1, 1]), 1.7) * regex("(a|ab)*b|b+a(ba)*")) | es.temperature(0.8)
    ),
    "contrast": lambda: contrast(TABLE, SMALL, beta=0.7, alpha=0.2),
    "watermark": lambda: TABLE | watermark(key=3, gamma=0.4, delta=1.5) | es.top_p(0.95),
}


@pytest.mark.parametrize("rule", [v.SampleMatch(), v.Rejection(), v.Block(), v.Recursive()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("name", SCORERS)
def test_second_streams_and_watermarks_have_their_law_under_speculation(name, rule):
    """Speculative contrastive decoding is the row "contrast" with the amateur as the draft model."""
    target, law = Target(SCORERS[name](), END), {}
    for weight, draft, rows in drafts(State(lambda: d.DraftModel(SMALL, tokens=2), target, 0, 0)):
        x = draft.prefixes[0]
        for emitted, p in emissions(target, draft, rows, rule, 3).items():
            law[emitted] = law.get(emitted, 0.0) + weight * p
    assert_exact(target, x, law, 3)


@pytest.mark.parametrize("name", SCORERS)
def test_second_streams_give_the_tokens_of_plain_decoding(name):
    stop = es.stop.budget(12) | es.stop.end({END})
    for seed in range(8):
        x = es.Prefix([0, 1, 0])
        [plain] = es.run(es.sample(SCORERS[name](), x, stop, es.Rng(seed)))
        for kind in ("right", "half", "wrong"):
            helper = Knows([plain.written()], wrong={"right": 0, "half": 3, "wrong": 1}[kind])
            [drafted] = es.run(es.speculate(SCORERS[name](), x, stop, helper, v.SampleMatch(), es.Rng(seed)))
            assert drafted.ids() == plain.ids()


def test_both_streams_of_guidance_share_the_pass_that_scores_a_draft():
    model = es.models.Table.random(V, 2, seed=3)
    scorer, x, stop = guidance(model, es.Prefix([1, 1]), 2.0), es.Prefix([0]), es.stop.budget(16)
    [plain] = es.run(es.sample(scorer, x, stop, es.Rng(0)))
    assert model.passes == 16
    [drafted] = es.run(es.speculate(scorer, x, stop, Knows([plain.written()], tokens=3), v.SampleMatch(), es.Rng(0)))
    assert model.passes == 16 + 4
    assert drafted.ids() == plain.ids()


def test_guidance_is_its_formula_and_the_second_stream_follows_the_first():
    scorer, x = guidance(TABLE, es.Prefix([1, 1]), 2.0), es.Prefix([0, 1]) + 0
    [row] = es.run(ask(scorer, x))
    own, other = (torch.log_softmax(TABLE.row(context), -1) for context in ((1, 0), (1, 0)))
    assert torch.allclose(row.dense(), torch.log_softmax(2 * own - other, -1))  # depth 2: both streams end in 1, 0
    y = es.Prefix([0, 0])
    [row] = es.run(ask(scorer, y))
    own, other = (torch.log_softmax(TABLE.row(context), -1) for context in ((0, 0), (1, 1)))
    assert torch.allclose(row.dense(), torch.log_softmax(2 * own - other, -1))


def ask(scorer, x):  # type: ignore[no-untyped-def]
    [row] = yield es.Ask(scorer, [x])
    return row


def test_a_watermark_survives_drafts_and_is_seen_by_its_key_only():
    mark, stop, x = watermark(key=9, delta=3.0), es.stop.budget(100), LM.prompt(PROMPT)
    size = LM.model.vocab_size
    [plain] = es.run(es.sample(LM.model | mark, x, stop, es.Rng(1)))
    [drafted] = es.run(es.speculate(LM.model | mark, x, stop, d.TokenRecycling(nodes=8), v.SampleMatch(), es.Rng(1)))
    [bare] = es.run(es.sample(LM.model, x, stop, es.Rng(1)))
    assert plain.ids() == drafted.ids()
    found = mark.detect(drafted.written(), size)
    assert found.z > 5
    assert found.p < 1e-6
    assert abs(mark.detect(bare.written(), size).z) < 4
    assert abs(watermark(key=10, delta=3.0).detect(drafted.written(), size).z) < 4


def test_the_score_of_unmarked_text_is_standard_normal():
    """400 uniform texts of 200 tokens: the mean of z is within 4 standard errors of 0, its variance within 4 of 1."""
    mark, bits = watermark(key=1, gamma=0.25), torch.Generator().manual_seed(0)
    scores = [mark.detect(torch.randint(0, 500, (200,), generator=bits).tolist(), 500).z for _ in range(400)]
    z = torch.tensor(scores, dtype=torch.float64)
    assert abs(float(z.mean())) < 4 / 400**0.5
    assert abs(float(z.var()) - 1) < 4 * (2 / 399) ** 0.5


# Dead ends: a constraint that does not see them coming, backed up over inside an accepted block


class Trap:
    """After "1 0" nothing may follow, and the law does not say so beforehand."""

    exactness = "over"

    def start(self):  # type: ignore[no-untyped-def]
        return ()

    def advance(self, state, token):  # type: ignore[no-untyped-def]
        return (*state, token)[-2:] if self.allowed(state, token) else None

    def allowed(self, state, token):  # type: ignore[no-untyped-def]
        return state != (1, 0)

    def mask(self, state):  # type: ignore[no-untyped-def]
        return torch.full((2,), state != (1, 0))


@pytest.mark.parametrize("rule", [v.SampleMatch(), v.Rejection(), v.MultiCandidate(), v.Recursive(), v.Block()])
def test_dead_ends_inside_a_draft_leave_the_law_of_plain_sampling(rule):
    model, small = (es.models.Table.random(2, 1, seed=seed) for seed in (3, 8))
    x, stop = es.Prefix([0]), es.stop.budget(3)
    plain = exact_law(lambda rng: es.sample(model * Trap(), x, stop, rng), lambda y: tuple(y.written()))
    make = d.DraftModel(small, tokens=2)
    law = exact_law(lambda rng: es.speculate(model * Trap(), x, stop, make, rule, rng), lambda y: tuple(y.written()))
    assert_same_law(law, plain)
    assert (1, 0, 0) not in law


def test_beams_and_drafted_texts_share_passes_and_do_not_disturb_each_other():
    def texts():  # type: ignore[no-untyped-def]
        return es.speculate(
            TABLE, es.Prefix([0, 1]), es.stop.budget(6), d.DraftModel(SMALL, tokens=2), v.Rejection(), es.Rng(5)
        )

    def beams():  # type: ignore[no-untyped-def]
        return es.beam(TABLE, es.Prefix([0, 1]), es.stop.budget(6), width=4)

    [alone], [best] = es.run(texts()), es.run(beams())
    together, found = es.run(texts(), beams())
    assert together.ids() == alone.ids()
    assert [h.prefix.ids() for h in found] == [h.prefix.ids() for h in best]
