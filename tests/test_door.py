"""The front door: every option, decoders and shapers of one's own, scores, requests with options of their own."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest
import torch
from toys import random_lm, speaks

import espalier as es
from espalier.requests import options as groups
from espalier.requests.request import FOREIGN, Flat, read

A = es.raw("ab")


def test_flat_keywords_are_the_options():
    assert set(Flat.__annotations__) | {"schema", "n"} == {field.name for field in fields(groups.Options)} | set(groups.GROUPS)


@pytest.mark.parametrize("decoder", [es.decoders.Sample(), es.decoders.Speculate(es.drafting.PromptLookup()), "sample"])
def test_decoders_as_objects_write_what_the_default_writes(decoder):
    lm = random_lm()
    options = {"max_tokens": 20, "temperature": 0.9, "seed": 3, "top_p": 0.9}
    plain = lm.complete(A, drafter=None, **options)
    found = lm.complete(A, decoder=decoder, **options)
    assert (found.tokens, found.logprobs) == (plain.tokens, plain.logprobs)
    assert "".join(lm.stream(A, decoder=decoder, **options)) == plain.text


def greedy_pairs(scorer, x, stop, rng):
    """A decoder of one's own that keeps two tokens at a time."""
    while not stop(x):
        [row] = yield es.Ask(scorer, [x])
        y = x + row.argmax()
        if stop(y):
            x = yield es.Keep(y)
            break
        [row] = yield es.Ask(scorer, [y])
        two = [y.last, row.argmax()]
        x = yield es.Keep(x + two)
    return [es.decoders.Weighted(x, 0.5)]


def test_a_function_is_a_decoder_with_everything_that_the_door_gives():
    lm = random_lm()
    options = {"max_tokens": 21, "stop": "a"}
    plain, own = lm.complete(A, drafter=None, **options), lm.complete(A, decoder=greedy_pairs, **options)
    assert own.tokens[: len(plain.tokens)] == plain.tokens
    assert own.text == plain.text
    assert own.logprobs[: len(plain.logprobs)] == pytest.approx(plain.logprobs)
    assert own.log_weight == 0.5
    assert "".join(lm.stream(A, decoder=greedy_pairs, **options)) == own.text
    number = lm.generate(A, decoder=greedy_pairs, schema={"enum": [12, 345]}, max_tokens=12)
    assert number in (12, 345)


@pytest.mark.parametrize(
    ("decoder", "said"),
    [
        (lambda scorer, x, stop, rng: 5, "is a generator function"),
        (lambda scorer, x, stop, rng: (yield 5), "a decoder yielded 5"),
        (lambda scorer, x, stop, rng: (yield from greedy_pairs(scorer, x, stop, rng)) and "text", "a decoder returned text"),
        (lambda scorer, x, stop, rng: (yield from greedy_pairs(scorer, x, stop, rng)) and [es.Prefix([1])], "does not go on"),
        ("beem:3", "did you mean 'beam'"),
        ("beam:3, wdith=2", "beam:3, wdith=2"),
        ("beam:(", "written as in a call"),
    ],
)
def test_rubbish_from_a_decoder_is_one_message(decoder, said):
    with pytest.raises(es.InvalidInput, match=said):
        random_lm().complete(A, decoder=decoder, max_tokens=4)


def test_a_beam_gives_its_best_texts_as_n():
    lm = random_lm()
    out = lm.complete(A, decoder=es.decoders.Beam(4), n=3, max_tokens=6)
    assert len(out) == 3
    assert [c.log_weight for c in out] == sorted((c.log_weight for c in out), reverse=True)
    for each in out:
        [again] = lm.score(A, [each.tokens])
        assert each.logprobs == pytest.approx(list(again.logprobs), abs=1e-9)
    assert lm.complete(A, decoder="beam:4", max_tokens=6).tokens == out[0].tokens
    with pytest.raises(es.InvalidInput, match="found 2 texts, but n=3"):
        lm.complete(A, decoder=es.decoders.Beam(2), n=3, max_tokens=6)
    assert json.loads(lm.complete(A, decoder=es.decoders.Beam(4), schema={"enum": ["x", "yz"]}).text) in ("x", "yz")


def test_shapers_by_name_and_by_object_stand_where_their_stage_belongs():
    lm = random_lm()
    options = {"max_tokens": 20, "temperature": 0.8, "seed": 1, "drafter": None}
    named = lm.complete(A, shapers=["top_k:5", "repetition:1.3"], **options)
    plain = lm.complete(A, top_k=5, repetition_penalty=1.3, **options)
    objects = lm.complete(A, shapers=[es.top_k(5), es.repetition(1.3)], **options)
    assert named.tokens == plain.tokens == objects.tokens
    with pytest.raises(es.InvalidInput, match="did you mean 'top_k'"):
        lm.complete(A, shapers=["topk:5"])


def test_a_scorer_of_ones_own_keeps_its_temperature():
    lm = random_lm()
    hot = lm.complete(A, temperature=0.7, seed=2, max_tokens=20, drafter=None)
    own = lm.complete(A, scorer=lm.scorer | es.temperature(0.7), seed=2, max_tokens=20, drafter=None)
    assert hot.tokens == own.tokens
    with pytest.raises(es.InvalidInput, match=r"build it from lm\.scorer"):
        lm.complete(A, scorer=es.models.Table.random(vocab_size=4, depth=1, seed=0))


def test_a_users_program():
    """Guidance, a watermark, a schema, a stop string, streaming and n = 2 through one call."""
    lm = random_lm()
    scorer = es.shaping.guidance(lm.scorer, lm.prompt(es.raw("no")), 1.5)
    options = {
        "scorer": scorer,
        "shapers": [es.shaping.watermark(key=1)],
        "schema": {"type": "array", "items": {"enum": [1, 22, 333]}, "minItems": 2, "maxItems": 3},
        "stop": "!",
        "n": 2,
        "seed": 4,
        "temperature": 1.0,
    }
    values = lm.generate(A, **options)
    assert len(values) == 2
    assert all(item in (1, 22, 333) for value in values for item in value)
    texts = ["", ""]
    for piece in lm.stream(A, **options):
        texts[piece.branch] += piece
    assert [json.loads(text) for text in texts] == values


def test_logprobs_hold_the_best_tokens_under_the_model_and_under_the_law():
    lm = random_lm()
    for drafter in (None, es.drafting.PromptLookup()):
        out = lm.complete(A, logprobs=3, temperature=0.5, top_k=4, seed=1, max_tokens=12, drafter=drafter)
        x = lm.prompt(A)
        for token, p in zip(out.tokens, out.logprobs, strict=True):
            row = lm.model.forward([x], frozenset())[0]
            law = lm.model.forward([x], frozenset()).followed_by(es.temperature(0.5)).followed_by(es.top_k(4))[0]
            assert math.isclose(p, row.logp(token), abs_tol=1e-9)
            assert [t for t, _ in p.top] == [t for t, _ in row.top(3)]
            assert math.isclose(p.drawn, law.logp(token), abs_tol=1e-9)
            assert [t for t, _ in p.drawn_top] == [t for t, _ in law.top(3)]
            x = x + token
    assert json.loads(json.dumps(out.logprobs)) == out.logprobs


def test_scores_of_given_texts_are_one_pass():
    lm = random_lm()
    before = lm.model.passes
    found = lm.score(A, ["abc", "abd", "x"])
    assert lm.model.passes == before + 1
    for each in found:
        x, total = lm.prompt(A), 0.0
        for token in each.tokens:
            total += lm.model.forward([x], frozenset())[0].logp(token)
            x = x + token
        assert each.logprob == pytest.approx(total)
    assert lm.score(A, "abc") == found[0]
    assert lm.score(A, found[0].tokens) == found[0]
    for wrong, said in (("", "empty"), ([], "empty"), ([10**9], "outside this vocabulary"), (5, "a text or a list")):
        with pytest.raises(es.InvalidInput, match=said):
            lm.score(A, wrong)


def test_no_tokens_but_scores():
    lm = random_lm()
    out = lm.complete(es.raw("abc"), max_tokens=0, logprobs=0)
    ids = lm.prompt(es.raw("abc")).ids()
    assert (out.text, out.tokens, out.finish_reason) == ("", [], "length")
    assert out.prompt_logprobs == pytest.approx(lm.score(es.Prefix(ids[:1]), ids[1:]).logprobs)


def test_requests_have_options_of_their_own():
    lm = random_lm()
    asked = [es.Request(A, seed=1, temperature=1.0), es.Request(A, regex="[0-9]{3}", n=2, seed=5), A]
    out = lm.complete_all(asked, max_tokens=9)
    assert out[0].tokens == lm.complete(A, seed=1, temperature=1.0, max_tokens=9).tokens
    assert [c.tokens for c in out[1]] == [c.tokens for c in lm.complete(A, regex="[0-9]{3}", n=2, seed=5, max_tokens=9)]
    assert out[2].tokens == lm.complete(A, max_tokens=9).tokens
    with pytest.raises(es.InvalidInput, match="did you mean temperature"):
        es.Request(A, temprature=1)


def test_groups_are_the_flat_keywords():
    lm = random_lm()
    flat = lm.complete(A, temperature=0.7, seed=3, max_tokens=9, regex="[a-z ]*")
    grouped = lm.complete(
        A,
        sampling=es.Sampling(temperature=0.7, seed=3),
        stopping=es.Stopping(max_tokens=9),
        constraining=es.Constraining(regex="[a-z ]*"),
    )
    assert flat.tokens == grouped.tokens
    with pytest.raises(es.InvalidInput, match="seed was given twice"):
        lm.complete(A, seed=1, sampling=es.Sampling(seed=2))


@pytest.mark.parametrize("name", FOREIGN)
def test_names_of_other_libraries_are_answered_with_ours(name):
    with pytest.raises(es.InvalidInput, match=rf"unknown option {name}; here it is called"):
        read({name: 1})


def test_lengths_and_ends():
    lm = random_lm()
    end = next(iter(lm.vocab.end))
    likely = {end: 100.0}
    assert lm.complete(A, logit_bias=likely).tokens == [end]
    least = lm.complete(A, logit_bias=likely, min_tokens=4)
    assert len(least.tokens) == 5
    assert least.tokens[-1] == end
    on = lm.complete(A, logit_bias=likely, ignore_eos=True, max_tokens=5)
    assert (on.tokens, on.finish_reason) == ([end] * 5, "length")
    with pytest.raises(es.InvalidInput, match="ignore_eos was given with regex"):
        lm.complete(A, ignore_eos=True, regex="a")
    with pytest.raises(es.InvalidInput, match="min_tokens=9"):
        lm.complete(A, min_tokens=9, max_tokens=8)


def test_stops_of_every_kind():
    lm = speaks(["one two three two one"])
    start = es.raw("one ")
    assert lm.complete(start, stop="three").text == "two "
    assert lm.complete(start, stop="three", include_stop=True).text == "two three"
    assert lm.complete(start, stop=iter(["three"])).text == "two "
    asked, group = es.Request(start, stop=iter(["three"])), es.requests.Stopping(stop=iter(["three"]))
    for _ in range(2):  # read where they are given, so that they can be used again
        assert lm.complete_all([asked])[0].text == lm.complete(start, stopping=group).text == "two "
    assert lm.generate(start, choices=iter(["two"]), stop={"three"}).text == "two"
    r = lm.tokenizer.encode("r")[0]
    at = lm.complete(start, stop_tokens=[r])
    assert (at.text, at.tokens[-1], at.finish_reason) == ("two th", r, "stop")
    assert lm.complete(start, stop_tokens=[r], include_stop=True).text == "two thr"
    assert lm.complete(start, stop=[es.stop.budget(3), "e"]).text == "two"
    assert lm.complete(start, stop=es.stop.budget(3)).finish_reason == "length"
    assert lm.complete(start, stop="w", min_tokens=3).text == "two three t"
    with pytest.raises(es.InvalidInput, match="outside this vocabulary"):
        lm.complete(start, stop_tokens=[10**6])


def test_a_stop_string_that_is_a_special_token_matches():
    lm = random_lm()
    end = next(iter(lm.vocab.end))
    out = lm.complete(A, stop=lm.vocab.name(end), ignore_eos=True, logit_bias={end: 100.0}, max_tokens=4)
    assert (out.tokens, out.finish_reason) == ([end], "stop")


def test_allowed_and_banned():
    lm = random_lm()
    a, b = lm.tokenizer.encode("a")[0], lm.tokenizer.encode("b")[0]
    assert set(lm.complete(A, allowed_tokens=[a, b], max_tokens=9, temperature=1.0, seed=0).tokens) == {a, b}
    free = lm.complete(A, temperature=1.5, seed=0, max_tokens=60, drafter=None)
    letter = free.text[3]
    without = lm.complete(A, temperature=1.5, seed=0, max_tokens=60, banned=[letter])
    assert letter not in without.text
    assert lm.tokenizer.encode(letter)[0] not in lm.complete(A, banned=lm.tokenizer.encode(letter), max_tokens=40).tokens
    both = lm.complete(A, temperature=1.5, seed=0, max_tokens=60, banned=["a", "b"], regex="[a-d]{5}")
    assert set(both.text) <= {"c", "d"}
    assert len(both.text) == 5
    with pytest.raises(es.InvalidInput, match="outside this vocabulary"):
        lm.complete(A, allowed_tokens=[10**6])


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (["a", "b"], r"lm\.complete_all"),
        ([1, 2], r"es\.Prefix"),
        (torch.tensor([1, 2]), r"es\.Prefix"),
        (5, "the prompt was 5"),
    ],
)
def test_what_is_no_prompt_is_told(prompt, said):
    with pytest.raises(es.InvalidInput, match=said):
        random_lm().generate(prompt)


def test_fastcot_goes_through_the_door():
    lm = random_lm()
    ask = lm.tokenizer.encode("so")
    exact = lm.complete(A, decoder=es.decoders.FastCoT(ask, reasoning=10), max_tokens=20)
    plain = lm.complete(A, drafter=None, max_tokens=10)
    assert exact.tokens[: len(plain.tokens)] == plain.tokens  # without a limit of passes nothing is guessed
    if len(plain.tokens) == 10:
        assert exact.tokens[10:12] == ask
    early = lm.complete(A, decoder=es.decoders.FastCoT(ask, reasoning=10, window=4, passes=1), max_tokens=20)
    assert early.stats.passes < exact.stats.passes
    assert len(early.logprobs) == len(early.tokens)
    assert "".join(lm.stream(A, decoder=es.decoders.FastCoT(ask, reasoning=10), max_tokens=20)) == exact.text
