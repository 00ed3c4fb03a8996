"""Prompts far beyond the context are refused before they are split into tokens."""

from __future__ import annotations

from typing import Any

import pytest
from toys import tokenizer, transformer

import espalier as es
from espalier.errors import ContextOverflow


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


def test_a_text_that_might_fit_is_counted() -> None:
    lm = small()
    with pytest.raises(ContextOverflow, match="the prompt has"):
        lm.complete(es.raw("x" * (lm.context + 1)))
