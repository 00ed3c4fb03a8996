"""A real model of one vocabulary drafts for a real model of another: SmolLM2 for Gemma 3, losslessly."""

from __future__ import annotations

import pytest
import torch

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.drafting.draft_model.other_vocabulary import Encode
from espalier.lm import LanguageModel

PROMPTS = ["1, 2, 3, 4, 5, 6, 7,", "def add(a, b):\n    return"]


@pytest.fixture(scope="module")
def gemma() -> LanguageModel:
    return es.load("gemma-3-270m")


@pytest.fixture(scope="module")
def smollm() -> LanguageModel:
    return es.load("smollm2-135m-instruct")


def encoder(lm: LanguageModel) -> Encode:
    return lambda text: lm.tokenizer.encode(text.decode("utf-8", "replace"))


@pytest.mark.real
def test_smollm_drafts_for_gemma_and_the_text_is_gemma_s(gemma, smollm):
    common = d.Intersection(smollm.model, gemma.vocab, encoder(smollm))
    assert len(common.ours) > 15_000  # most of SmolLM2's tokens are tokens of Gemma, too
    drafters = {
        "tokens": (d.DraftModel(common, tokens=4), v.Rejection()),
        "text": (d.Retokenised(smollm.model, gemma.vocab, 4, encode=encoder(smollm), encode_target=encoder(gemma)), None),
        "ahead": (d.Pearl(common, tokens=3), v.Rejection()),
    }
    passes = dict.fromkeys(drafters, 0)
    for prompt in PROMPTS:
        plain = gemma.complete(es.raw(prompt), max_tokens=8, drafter=None)
        for name, (drafter, verifier) in drafters.items():
            drafted = gemma.complete(es.raw(prompt), max_tokens=8, drafter=drafter, verifier=verifier)
            assert drafted.text == plain.text
            passes[name] += drafted.stats.passes
    assert max(passes["tokens"], passes["text"]) < 8 * len(PROMPTS)
    assert passes["ahead"] <= 8 * len(PROMPTS)  # it has no bonus token


@pytest.mark.real
def test_a_drafter_of_another_vocabulary_is_refused_before_anything_runs(gemma, smollm):
    with pytest.raises(es.InvalidInput, match="Intersection"):
        gemma.complete(es.raw("Hi"), max_tokens=2, drafter=d.DraftModel(smollm.model))


@pytest.mark.real
def test_a_judge_and_reflection_run_on_a_real_model(smollm):
    """Both are lossy; with nothing to judge or weigh they are plain decoding."""
    prompt, lookup = es.raw("one two three one two three one two"), d.PromptLookup()
    plain = smollm.complete(prompt, max_tokens=12, drafter=None)
    size = smollm.model.forward([es.Prefix([1])], frozenset({"hidden"})).extras["hidden"].shape[-1]
    for rule in (v.Judge(torch.zeros(size), bias=-1.0), v.Reflective(smollm.tokenizer.encode(" Check:"), weight=0.0)):
        assert smollm.complete(prompt, max_tokens=12, drafter=lookup, verifier=rule).text == plain.text
    rule = v.Reflective(smollm.tokenizer.encode("\nIs this right? Again:"), weight=0.3)
    assert len(smollm.complete(prompt, max_tokens=12, drafter=lookup, verifier=rule).tokens) > 0
