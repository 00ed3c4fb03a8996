"""Batches: ragged acceptance without padding, and every request as if it ran alone."""

from __future__ import annotations

import pytest
from policy_laws import PROMPT, assert_lossless

import espalier as es
from espalier.drafting import Chain, DraftModel, KConfig
from espalier.drafting.draft import Draft
from espalier.drafting.lengths.bass import BASS
from espalier.drafting.lengths.confidence import SVIP
from espalier.drafting.lengths.heuristic import Heuristic
from espalier.drafting.lengths.tetris import Capacity, Tetris
from espalier.verification import Recursive, Rejection, SampleMatch

V, REQUESTS = 5, 8
PROMPTS = [es.Prefix([i % V, (2 * i) % V, i % 3]) for i in range(REQUESTS)]


def models():  # type: ignore[no-untyped-def]
    return es.models.Table.random(V, 2, seed=3), es.models.Table.random(V, 1, seed=3)


PAIRS = {
    "lookup": (lambda draft: es.drafting.PromptLookup(), SampleMatch()),
    "chain": (lambda draft: DraftModel(draft, tokens=3), Rejection()),
    "svip": (lambda draft: DraftModel(draft, tree=Chain(6), length=SVIP(0.42)), Rejection()),
    "heuristic": (lambda draft: DraftModel(draft, tree=Chain(9), length=Heuristic(2)), Rejection()),
    "tree": (lambda draft: DraftModel(draft, tree=KConfig((3, 2))), Recursive()),
}


def decoders(target, drafter, verifier, only=range(REQUESTS), tokens=25):  # type: ignore[no-untyped-def]
    scorer = target | es.repetition(1.2) | es.temperature(0.9)
    return [
        es.speculate(scorer, PROMPTS[i], es.stop.budget(tokens + i), drafter, verifier, es.Rng(i)) for i in only
    ]  # each request has its own length and its own random numbers


@pytest.mark.parametrize("name", PAIRS)
def test_every_row_of_a_batch_is_its_run_alone_and_nothing_is_padded(name):
    make, verifier = PAIRS[name]
    target, draft = models()
    asked, written = [], []

    def trace(kind, what):  # type: ignore[no-untyped-def]
        if kind == "pass":
            model, asks, rows = what
            asked.append((model, sum(len(ask.prefixes) for ask in asks), len(rows)))
            if model is target:
                written.append({len(ask.prefixes[0].written()) for ask in asks})

    together = es.run(*decoders(target, make(draft), verifier), trace=trace)
    computed = sum(rows for model, _, rows in asked if model is target)
    assert all(rows == prefixes for _, prefixes, rows in asked)  # what is computed is what was asked
    alone_computed = 0
    for i in range(REQUESTS):
        asked.clear()
        [alone] = es.run(*decoders(target, make(draft), verifier, [i]), trace=trace)
        assert alone.ids() == together[i].ids()
        alone_computed += sum(rows for model, _, rows in asked if model is target)
    assert computed == alone_computed  # a batch computes not one row more than its requests alone
    assert any(len(turn) > 1 for turn in written)  # ragged: requests that accepted more or less so far share a pass


def test_a_batch_shares_its_passes():
    target, draft = models()
    es.run(*decoders(target, DraftModel(draft, tokens=3), Rejection()))
    batch, target.passes = target.passes, 0
    for i in range(REQUESTS):
        es.run(*decoders(target, DraftModel(draft, tokens=3), Rejection(), [i]))
    assert batch < target.passes / 4


def test_requests_that_share_a_budget_say_what_they_say_alone():
    """Matching makes the same draws whatever was drafted, so cutting drafts changes the time and not the text."""
    target, draft = models()
    together = es.run(*decoders(target, Tetris(draft, Capacity(6)), SampleMatch()))
    for i in range(REQUESTS):
        [alone] = es.run(*decoders(target, Tetris(draft, Capacity(6)), SampleMatch(), [i]))
        [plain] = es.run(*decoders(target, es.drafting.PromptLookup(), SampleMatch(), [i]))
        assert together[i].ids() == alone.ids() == plain.ids()


def test_a_budget_bounds_every_pass_of_the_batch():
    target, draft = models()
    sizes = []

    def trace(kind, what):  # type: ignore[no-untyped-def]
        if kind == "pass" and what[0] is target:
            sizes.append((len(what[1]), len(what[2])))

    es.run(*decoders(target, Tetris(draft, Capacity(6)), Rejection()), trace=trace)
    assert all(rows <= requests + 6 for requests, rows in sizes)
    assert max(rows - requests for requests, rows in sizes) == 6


def test_ragged_drafts_are_verified_together():
    """Drafts of different lengths are done in different turns; they wait for each other, whatever cuts them."""
    passes, texts = {}, {}
    for name, make in {
        "cut": lambda draft: Tetris(draft, Capacity(999), Chain(6), SVIP(0.42)),
        "whole": lambda draft: DraftModel(draft, tree=Chain(6), length=SVIP(0.42)),
    }.items():
        target, draft = models()
        texts[name] = [x.ids() for x in es.run(*decoders(target, make(draft), SampleMatch()))]
        passes[name] = target.passes
    assert texts["cut"] == texts["whole"]
    assert max(passes.values()) <= 25 + REQUESTS - 1  # the longest text's tokens: plain decoding


def test_patience_ends():
    """A request that does not draft is asked in every turn; the others wait for it no longer than they say."""
    target, draft = models()
    other = es.models.Table.random(V, 2, seed=4)
    plain = es.sample(other, PROMPT, es.stop.budget(40), es.Rng(0))
    drafted = Tetris(draft, Capacity(9), Chain(2))
    [x, y] = es.run(plain, *decoders(target, drafted, SampleMatch(), [0]))
    [alone] = es.run(*decoders(target, drafted, SampleMatch(), [0]))
    assert y.ids() == alone.ids()
    assert len(x.written()) == 40
    loop = es.Loop()
    for decoder in (es.sample(other, PROMPT, es.stop.budget(999), es.Rng(0)), *decoders(target, drafted, SampleMatch(), [0])):
        number = loop.add(decoder)
    for _ in range(25 * 8):
        loop.turn()
    assert number in loop.results


def grown(x: es.Prefix, tokens: int) -> Draft:
    draft = Draft(x)
    draft.extend(0, [0] * tokens)
    return draft


def test_bass_follows_its_rule():
    policy, rng = BASS(start=7), es.Rng(0)
    assert policy.plan(PROMPT, rng) == 7
    draft = grown(PROMPT, 7)
    policy.observe(PROMPT + 1, draft, None)
    policy.observe(draft.prefixes[2] + 1, draft, None)
    assert [policy.plan(PROMPT, rng), policy.plan(PROMPT, rng)] == [6, 6]  # 7 - 1, once per round
    policy.observe(PROMPT + 1, draft, None)
    assert policy.plan(PROMPT, rng) == 4  # 6 - 1 - 1, as the round before made it less
    policy.observe(draft.prefixes[5] + 1, draft, None)
    assert policy.plan(PROMPT, rng) == 5  # not less than somebody accepted
    policy.observe(draft.prefixes[7] + 1, draft, None)
    policy.observe(PROMPT + 1, draft, None)
    assert policy.plan(PROMPT, rng) == 7
    with pytest.raises(es.InvalidInput):
        BASS(start=0)


def test_bass_keeps_the_law():
    target, draft = es.models.Table.random(3, 2, seed=3), es.models.Table.random(3, 2, seed=8)
    assert_lossless(target, lambda: DraftModel(draft, tree=Chain(), length=BASS(2, most=3)), Rejection(), length=3)


@pytest.mark.real
def test_a_real_batch_computes_no_padding_and_gives_the_rows_alone():
    lm = es.load(dtype="float32")
    texts = ["Count: 1 2 3 1 2 3 1 2", "The sea is", "a b a b a b a", "Red, green, red, green,"] * 2
    prompts = [lm.prompt(es.raw(f"{i}. {text}")) for i, text in enumerate(texts)]
    stop, rows, run = es.stop.budget(12), [], lm.model._run
    lm.model._run = lambda p, taps: (rows.append(len(p.tokens)), run(p, taps))[1]
    make = lambda x, i: es.speculate(  # noqa: E731
        lm.model | es.temperature(0.8), x, stop, es.drafting.PromptLookup(), SampleMatch(), es.Rng(i)
    )
    fresh = lambda: [es.Prefix(x.ids()) for x in prompts]  # noqa: E731
    together = [x.ids() for x in es.run(*(make(x, i) for i, x in enumerate(fresh())))]
    computed = sum(rows)
    rows.clear()
    alone = [es.run(make(x, i))[0].ids() for i, x in enumerate(fresh())]
    assert together == alone
    assert computed <= sum(rows)  # fewer if requests begin alike: what they share is computed once
