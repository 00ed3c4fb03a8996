"""What the model has read is not read again, and no text changes by it."""

from __future__ import annotations

import os
import random
import warnings

import pytest
import torch
from toys import tokenizer

import espalier as es
from espalier.bench.passes import random_weights
from espalier.models.executors import native
from espalier.models.families import Config
from espalier.models.kv.store import KV
from espalier.models.transformer import Transformer

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")


def tiny(cache_mb: float = 8) -> es.LanguageModel:
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, **sizes}
    config |= {"vocab_size": tokenizer().vocab.size, "tie_word_embeddings": True}
    model = Transformer.from_weights(Config.from_hf(config), random_weights(config, torch.float32, "cpu"))
    return es.LanguageModel(model, tokenizer(), cache_mb=cache_mb)


def rows(lm: es.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every pass from now on."""
    seen, run = list[int](), lm.model._run

    def counted(one, taps):
        seen.append(len(one.tokens))
        return run(one, taps)

    monkeypatch.setattr(lm.model, "_run", counted)
    return seen


def test_the_next_turn_computes_only_what_is_new(monkeypatch):
    lm = tiny()
    first = lm.complete(es.raw("a long beginning of a talk " * 5), max_tokens=8, drafter=None)
    assert first.stats.cached_tokens == 0
    seen = rows(lm, monkeypatch)
    prompt = es.Prefix([*lm.prompt(es.raw("a long beginning of a talk " * 5)).ids(), *first.tokens, 65, 66, 67])
    second = lm.complete(prompt, max_tokens=1, drafter=None)
    assert second.stats.cached_tokens == len(prompt) - 4  # the last token that was written was never read, and three are new
    assert seen == [4]


def test_equal_prompts_are_read_once(monkeypatch):
    lm = tiny()
    seen = rows(lm, monkeypatch)
    lm.complete(es.raw("b" * 60), n=3, temperature=1.0, seed=0, max_tokens=1, drafter=None)
    assert sum(seen) == 60


@pytest.mark.filterwarnings("ignore:cache_mb")  # some texts are larger than the cache
def test_random_mixes_give_the_texts_of_no_cache():
    dice, cached, plain = random.Random(0), tiny(cache_mb=0.02), tiny(cache_mb=0)
    texts = ["".join(dice.choice("abc ") for _ in range(40)) for _ in range(4)]
    for i in range(int(os.environ.get("ESPALIER_MIXES", "120"))):  # 2,000 in the long form
        prompts = [es.raw(dice.choice(texts)[: dice.randrange(1, 41)]) for _ in range(dice.randrange(1, 4))]
        options = {"temperature": dice.choice([0.0, 1.0]), "seed": i, "max_tokens": dice.randrange(1, 12)}
        options["cache_salt"] = dice.choice([None, "one", "two"])
        ours, theirs = cached.complete_all(prompts, **options), plain.complete_all(prompts, **options)
        assert [(c.tokens, c.logprobs) for c in ours] == [(c.tokens, c.logprobs) for c in theirs]
        assert cached.cache is not None
        assert cached.cache.nbytes <= 0.02 * (1 << 20)
    assert len(cached.cache) > 0


def test_salts_are_apart_and_the_least_recently_used_goes_first():
    lm = tiny()
    prompt = es.raw("c" * 50)
    assert lm.complete(prompt, max_tokens=2, cache_salt="a").stats.cached_tokens == 0
    assert lm.complete(prompt, max_tokens=2, cache_salt="b").stats.cached_tokens == 0
    assert lm.complete(prompt, max_tokens=2, cache_salt="a").stats.cached_tokens == 50
    assert lm.complete(prompt, max_tokens=2).stats.cached_tokens == 0
    small = tiny(cache_mb=120 * lm.model.kv.bytes_per_token / (1 << 20))  # two texts of fifty tokens
    for letter in "xyxz":  # x was used again, so y goes for z
        small.complete(es.raw(letter * 50), max_tokens=2, drafter=None)
    known = {letter: small.complete(es.raw(letter * 50), max_tokens=1, drafter=None).stats.cached_tokens for letter in "xzy"}
    assert (known["x"], known["z"], known["y"]) == (50, 50, 0)
    assert lm.cache is not None
    lm.cache.clear()
    assert lm.complete(prompt, max_tokens=2, cache_salt="a").stats.cached_tokens == 0
    with pytest.raises(es.InvalidInput, match="cache_mb=-1"):
        tiny(cache_mb=-1)


def test_a_cache_or_a_store_that_holds_no_token_is_refused_when_it_is_built():
    with pytest.raises(es.InvalidInput, match="holds no token"):
        tiny(cache_mb=1e-5)
    with pytest.raises(es.InvalidInput, match="holds 0 tokens"):
        KV(layers=2, width=4, dtype=torch.float32, budget=10)
    small = tiny(cache_mb=1)
    assert small.cache is not None
    with pytest.raises(es.InvalidInput, match="holds no token"):
        small.cache.cache_mb = 1e-5  # as a server sets it


def test_a_text_that_is_larger_than_the_cache_is_named_once_and_drives_no_other_out():
    small = tiny(cache_mb=20 * 512 / (1 << 20))  # twenty tokens
    assert small.cache is not None
    small.complete(es.raw("e" * 10), max_tokens=2, drafter=None)
    with pytest.warns(UserWarning, match="holds 20 tokens of this model, and a text of 61"):
        assert small.complete(es.raw("d" * 60), max_tokens=2, drafter=None).tokens
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small.complete(es.raw("d" * 60), max_tokens=2, drafter=None)
    assert small.cache.nbytes <= small.cache.cache_mb * (1 << 20)
    assert small.complete(es.raw("e" * 10), max_tokens=1, drafter=None).stats.cached_tokens == 10
