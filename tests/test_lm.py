"""The surface: generate, stream, batches, seeds, bad input; on toys whose every row is known."""

from __future__ import annotations

import math

import pytest
import torch
from toys import random_lm, speaks, tokenizer

import espalier as es
from espalier.bench.passes import random_weights
from espalier.models.families import Config
from espalier.models.transformer import Transformer

SONG = "row row row your boat gently down the stream. merrily merrily merrily merrily life is but a dream."


def test_a_completion_says_what_it_is():
    song = SONG.replace("merrily merrily merrily", "merrily")
    lm = speaks([song])
    out = lm.generate(es.raw("row your boat "), drafter=None)
    assert str(out) == out.text == song.split("row your boat ")[1]
    assert out.finish_reason == "stop"
    assert out.tokens[-1] in lm.vocab.end
    assert len(out.logprobs) == len(out.tokens) == out.stats.tokens == out.stats.passes
    assert out.stats.prompt_tokens == 14


def test_chat_template_is_applied_to_plain_prompts_and_not_to_raw_ones():
    lm = speaks(["[user]Hi[assistant]Hello!"], chat=True)
    assert lm.generate("Hi").text == "Hello!"
    assert lm.generate([{"role": "user", "content": "Hi"}]).text == "Hello!"
    assert lm.prompt(es.raw("Hi")).ids() == lm.tokenizer.encode("Hi")


def test_logprobs_are_the_models_own_whatever_shapes_and_drafts():
    lm = random_lm()
    options = {"max_tokens": 20, "temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.2, "seed": 5}
    plain = lm.generate(es.raw("ab"), drafter=None, **options)
    drafted = lm.generate(es.raw("ab"), drafter=es.drafting.PromptLookup(), **options)
    assert plain.tokens == drafted.tokens
    assert plain.logprobs == drafted.logprobs
    x = lm.prompt(es.raw("ab"))
    for token, logp in zip(plain.tokens, plain.logprobs, strict=True):
        row = lm.model.forward([x], frozenset())[0]
        assert math.isclose(row.logp(token), logp, abs_tol=1e-9)
        x = x + token


def test_speculation_says_the_same_in_fewer_passes():
    lm = speaks([SONG * 2])
    plain = lm.generate(es.raw(SONG), max_tokens=80, drafter=None)
    drafted = lm.generate(es.raw(SONG), max_tokens=80, drafter=es.drafting.PromptLookup())
    assert plain.text == drafted.text
    assert drafted.stats.passes < plain.stats.passes / 2
    assert sum(n * times for n, times in drafted.stats.per_pass.items()) == len(drafted.tokens)
    assert sum(drafted.stats.per_pass.values()) == drafted.stats.passes


@pytest.mark.parametrize("drafter", [None, es.drafting.PromptLookup()], ids=["plain", "lookup"])
def test_stop_strings_cut_the_text_also_inside_a_draft(drafter):
    lm = speaks([SONG * 2])
    out = lm.generate(es.raw(SONG), stop=["merrily l", "stream"], drafter=drafter)
    assert drafter is None or max(out.stats.per_pass) > 1
    assert out.text == "row row row your boat gently down the "
    assert out.finish_reason == "stop"
    assert "".join(lm.stream(es.raw(SONG), stop=["merrily l", "stream"], drafter=drafter)) == out.text


@pytest.mark.parametrize("drafter", [None, es.drafting.PromptLookup()], ids=["plain", "lookup"])
def test_stream_joins_to_generate_and_splits_no_character(drafter):
    lm = speaks(["größe ★ größe ★ größe ★ 日本 größe"])
    whole = lm.generate(es.raw("gr"), drafter=drafter).text
    pieces = list(lm.stream(es.raw("gr"), drafter=drafter))
    assert "".join(pieces) == whole
    assert "★" in whole
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 3


def test_a_stream_never_shows_the_beginning_of_a_stop_string():
    lm = speaks([SONG])
    pieces = list(lm.stream(es.raw("row your "), stop="boat gently"))
    assert pieces == []
    assert "".join(lm.stream(es.raw("row your "), stop="boat gentlemen")).startswith("boat gently")


def test_seeds_reproduce_alone_and_in_a_batch():
    lm = random_lm()
    options = {"max_tokens": 15, "temperature": 1.0, "seed": 3}
    prompts = [es.raw(text) for text in ("a", "bc", "def", "g", "hi", "jkl", "m", "no")]
    batch = lm.complete_all(prompts, **options)
    alone = [lm.generate(prompt, **options) for prompt in prompts]
    assert [c.tokens for c in batch] == [c.tokens for c in alone]
    assert len({tuple(c.tokens) for c in batch}) > 1


def test_n_gives_different_texts_and_the_first_is_the_single_one():
    lm = random_lm()
    four = lm.generate(es.raw("a"), max_tokens=15, temperature=1.0, seed=3, n=4)
    one = lm.generate(es.raw("a"), max_tokens=15, temperature=1.0, seed=3)
    assert len(four) == 4
    assert len({c.text for c in four}) == 4
    assert four.text == four[0].text == one.text


def test_budgets():
    lm = random_lm()
    assert lm.generate(es.raw("a"), max_tokens=3, logit_bias=dict.fromkeys(lm.vocab.end, -math.inf)).finish_reason == "length"
    assert lm.generate(es.raw("a"), max_seconds=1e-9).finish_reason == "time"


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ("", {}, "empty"),
        ("   ", {}, "empty"),
        ([], {}, "empty"),
        ("a", {"temperature": -1}, "temperature=-1"),
        ("a", {"top_p": 1.5}, "top_p=1.5"),
        ("a", {"n": 0}, "n=0"),
        ("a", {"max_tokens": 0}, "max_tokens=0"),
        ("a", {"tempretaure": 1}, "unknown option tempretaure"),
        ("a", {"drafter": "fast"}, "drafter='fast'"),
        ("a", {"regex": "a", "choices": ["b"]}, "one constraint"),
        ("a", {"seed": -3}, "seed=-3"),
    ],
)
def test_bad_input_is_one_clear_error(prompt, options, said):
    lm = speaks(["x"], chat=True)
    with pytest.raises(es.InvalidInput, match=said):
        lm.generate(prompt, **options)


def test_a_prompt_longer_than_the_context_is_refused():
    lm = speaks(["x"])
    lm.model.context = 8
    with pytest.raises(es.InvalidInput, match="sees at most 8"):
        lm.generate(es.raw("123456789"))
    assert len(lm.generate(es.raw("1234"), logit_bias=dict.fromkeys(lm.vocab.end, -math.inf)).tokens) == 4


@pytest.mark.parametrize("drafter", [None, es.drafting.PromptLookup(), es.drafting.Jacobi(8)])
def test_a_text_ends_where_the_context_of_a_transformer_does(drafter):
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 40, **sizes}
    config |= {"vocab_size": tokenizer().vocab.size, "tie_word_embeddings": True}
    weights = random_weights(config, torch.float32, "cpu")
    lm = es.LanguageModel(Transformer.from_weights(Config.from_hf(config), weights), tokenizer())
    options = {"drafter": drafter, "logit_bias": dict.fromkeys(lm.vocab.end, -math.inf)}
    out = lm.complete(es.raw("a" * 25), max_tokens=100, **options)
    assert (lm.context, len(out.tokens), out.finish_reason) == (40, 15, "length")
    with pytest.raises(es.InvalidInput, match="sees at most 40"):
        lm.complete(es.raw("a" * 40), **options)


def test_what_a_decoder_refuses_before_it_asks_is_raised():
    lm, other = random_lm(), random_lm(merged=("ab",))
    drafter = es.drafting.DraftModel(other.model)
    with pytest.raises(es.InvalidInput, match="Intersection"):
        lm.generate(es.raw("ab"), drafter=drafter)
    with pytest.raises(es.InvalidInput, match="Intersection"):
        list(lm.stream(es.raw("ab"), drafter=drafter))
