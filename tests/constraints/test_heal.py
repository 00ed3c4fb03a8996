"""Healing a prompt that ends inside a token: the law of what follows, by enumeration."""

from __future__ import annotations

import re

import torch

import espalier as es
from espalier.constraints.heal import heal
from espalier.models.table import Table
from espalier.testing import assert_same_law, exact_law
from espalier.text.vocab import Vocab
from tests.toys import random_lm

VOCAB = Vocab([b"h", b":", b"://", b"/", None], end=[4])


def ids(y: es.Prefix) -> tuple[int, ...]:
    return tuple(y.written())


def test_what_is_taken_off() -> None:
    assert heal([0, 1], VOCAB).tokens == [0]
    assert heal([0, 3], VOCAB) == ([0, 3], None, b""), "no token begins with / and goes on"
    assert heal([0, 1, 3], VOCAB)[::2] == ([0], b":/"), ":/ over two tokens is the beginning of one"
    assert heal([0, 4], VOCAB) == ([0, 4], None, b""), "special tokens stay"
    assert heal([], VOCAB) == ([], None, b"")


def test_one_token_law() -> None:
    """Where single tokens cover the removed bytes, healing is the model's law given that the text begins with them."""
    model = Table.random(VOCAB.size, 1, 7, VOCAB)
    kept, guide, _ = heal([0, 1], VOCAB)
    x = es.Prefix(kept)
    law = exact_law(lambda rng: es.sample(model * guide, x, es.stop.budget(1), rng), ids)
    row = torch.softmax(model.row((0,)), -1)
    agreeing = row[1] + row[2]
    assert_same_law(law, {(1,): float(row[1] / agreeing), (2,): float(row[2] / agreeing)})


def test_the_text_goes_on_with_the_removed_bytes_and_then_with_the_guide() -> None:
    kept, guide, _ = heal([0, 1], VOCAB, es.regex("//h+"))
    assert guide is not None
    model = Table.random(VOCAB.size, 1, 1, VOCAB)
    for seed in range(20):
        [x] = es.run(es.sample(model * guide, es.Prefix(kept), es.stop.end(VOCAB.end) | es.stop.budget(20), es.Rng(seed)))
        text = VOCAB.join(x.written())
        assert text.startswith(b"://h") or len(x.written()) == 20
    assert guide.exactness == "exact"


def test_healing_across_half_a_character() -> None:
    e = "\u00e9".encode()
    vocab = Vocab([b"a", e[:1], e[1:], e, b"b", None], end=[5])
    kept, guide, _ = heal([0, 1], vocab)
    assert kept == [0]
    assert guide is not None
    assert guide.advance(guide.start(), e) is not None
    assert guide.advance(guide.start(), b"b") is None


def test_generate_shows_only_what_is_new() -> None:
    lm = random_lm(merged=["://", ":x"])
    seen = set()
    for seed in range(30):
        out = lm.generate(es.raw("h:"), max_tokens=5, temperature=1.0, seed=seed, heal=True)
        data = lm.vocab.join(out.tokens)
        assert data.startswith(b":")
        assert out.text == data[1:].decode("utf-8", "replace")
        seen.add(lm.vocab[out.tokens[0]])
        assert out.text == "".join(lm.stream(es.raw("h:"), max_tokens=5, temperature=1.0, seed=seed, heal=True))
    assert len(seen) > 1, "the token that ends the prompt is chosen anew"
    out = lm.generate(es.raw("h:"), max_tokens=30, temperature=1.0, regex="[ab]{3}", heal=True)
    assert out.finish_reason == "length" or re.fullmatch("[ab]{3}", out.text)
    plain = lm.generate(es.raw("h"), max_tokens=5, seed=1)
    assert plain.tokens == lm.generate(es.raw("h"), max_tokens=5, seed=1, heal=True).tokens, "nothing to heal"
