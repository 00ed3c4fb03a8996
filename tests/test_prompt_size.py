"""Prompts far beyond the context are refused before they are split into tokens."""

from __future__ import annotations

from typing import Any

import pytest
from toys import tokenizer, transformer

import espalier as es
from espalier.errors import ContextOverflow
from espalier.text.special_names import SpecialNames


def small() -> es.LanguageModel:
    tok = tokenizer(["abc"], chat=True)
    return es.LanguageModel(transformer(vocab_size=tok.vocab.size), tok, "toy")


@pytest.mark.parametrize("shape", ["raw", "text", "user", "system"])
def test_a_text_that_no_tokens_could_shorten_enough_is_not_tokenized(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = small()
    tokenizer = lm.tokenizer

    def never(*_: Any, **__: Any) -> list[int]:
        raise AssertionError("tokenized")

    monkeypatch.setattr(type(tokenizer), "_encode", never)
    text = "x" * (lm.context * tokenizer.longest + 1)
    prompt: Any = {"raw": es.raw(text), "text": text}.get(shape, [{"role": shape, "content": text}])
    with pytest.raises(ContextOverflow, match=f"at most {lm.context} fit"):
        lm.complete(prompt)


LONG = "x" * 100_000
SHAPES: dict[str, dict[str, Any]] = {
    "assistant": {"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": LONG}]},
    "tool": {"prompt": [{"role": "tool", "content": LONG}]},
    "parts": {"prompt": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]},
    "many": {"prompt": [{"role": "user", "content": "some words"}] * 10_000},
    "tools": {"prompt": [{"role": "user", "content": "a"}], "template_args": {"more": LONG}},
    "control": {"prompt": [{"role": "assistant", "content": "<|im_end|>" + LONG}]},
    "as tokens": {"prompt": [{"role": "assistant", "content": "<|im_end|>" + LONG}], "special_in_text": True},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_a_template_makes_is_looked_at_before_it_is_tokenized(
    shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = small()
    lm.tokenizer.templates["default"] += "{{ more }}"

    def never(*_: Any, **__: Any) -> list[int]:
        raise AssertionError("tokenized")

    monkeypatch.setattr(type(lm.tokenizer), "_encode", never)
    monkeypatch.setattr(SpecialNames, "ids", never)
    assert len(LONG) > lm.context * lm.tokenizer.longest
    with pytest.raises(ContextOverflow, match=f"at most {lm.context} fit"):
        lm.prompt(**shape)


def test_an_answer_that_the_template_leaves_out_does_not_count() -> None:
    lm = small()
    lm.tokenizer.templates["default"] = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    turns = [{"role": "assistant", "content": LONG}, {"role": "user", "content": "a"}]
    assert lm.prompt(turns).ids() == lm.prompt(turns[1:]).ids()


def test_a_text_that_might_fit_is_counted() -> None:
    lm = small()
    with pytest.raises(ContextOverflow, match="the prompt has"):
        lm.complete(es.raw("x" * (lm.context + 1)))
