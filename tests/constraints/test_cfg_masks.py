"""Masks of grammars: exactly the tokens whose bytes may follow, at every position of random texts, on random vocabularies."""

from __future__ import annotations

import random

import pytest

import espalier.constraints as es
from espalier.constraints import Guide, TokenGuide, grammars
from espalier.text.vocab import Vocab
from tests.constraints.cfg_oracle import productive, random_grammar, text_of
from tests.constraints.walks import walk


def vocabulary(rng: random.Random, alphabet: bytes, size: int, longest: int) -> Vocab:
    tokens: list[bytes | None] = [bytes([b]) for b in alphabet]
    tokens += [bytes(rng.choice(alphabet) for _ in range(rng.randint(2, longest))) for _ in range(size)]
    rng.shuffle(tokens)
    return Vocab([*tokens, None, None], end=[len(tokens)])


def masks_agree_with_checks(guide: Guide, vocab: Vocab, text: bytes, rng: random.Random) -> None:
    """At several positions of `text`: the mask, the check per token and the bytes say the same."""
    tokens = TokenGuide(guide, vocab)
    state, at = tokens.start(), 0
    while True:
        here = guide.advance(guide.start(), text[:at])
        assert here is not None
        expected = [bool(b) and guide.advance(here, b) is not None for b in (vocab[t] for t in range(vocab.size))]
        for end in vocab.end:
            expected[end] = guide.accepts(here)
        assert tokens.mask(state).tolist() == expected
        assert [tokens.allowed(state, t) for t in range(vocab.size)] == expected
        fitting = [t for t in range(vocab.size) if vocab[t] and text.startswith(vocab[t], at)]
        if at >= len(text) or not fitting:
            return
        token = rng.choice(fitting)
        state = tokens.advance(state, token)
        at += len(vocab[token])


@pytest.mark.parametrize("seed", range(4))
def test_random_grammars(seed: int) -> None:
    rng, seen = random.Random(seed), 0
    for _ in range(25):
        g = random_grammar(rng, depth=2)
        if "r0" not in productive(g):
            continue
        guide = es.cfg(text_of(g), start="r0")
        text = walk(guide, rng, 6)
        if text is None:
            continue
        masks_agree_with_checks(guide, vocabulary(rng, b"ab", 12, 4), text, rng)
        seen += 1
    assert seen > 10


@pytest.mark.parametrize(
    ("name", "alphabet"),
    [
        ("json", b'{}[]":,0123456789.eE+-truefalsn \n\\u'),
        ("arithmetic", b"()+-*/% 0123456789.exyz,"),
        ("sql", b"SELCTFROMselctfromwhWHundgpbyv,.*()='1 \n"),
        ("python", b"defxrtuni fol=():,.[]'\"\n+-*1{}"),
        ("xml", b"<>/?!-ab=\"'& ;[]C"),
    ],
)
def test_grammars_that_ship(name: str, alphabet: bytes) -> None:
    rng = random.Random(name)
    guide = getattr(grammars, name)()
    vocab = vocabulary(rng, bytes(sorted(set(alphabet))), 150, 6)
    for _ in range(4):
        text = walk(guide, rng, 12)
        if text is not None:
            masks_agree_with_checks(guide, vocab, text, rng)


def test_a_token_may_cross_many_rules() -> None:
    guide = es.cfg('s ::= "(" s ")" s | "a" | ""')
    vocab = Vocab([b"(", b")", b"a", b"((a))(", b"))))", b"))(a", None], end=[6])
    tokens = TokenGuide(guide, vocab)
    state = tokens.start()
    assert tokens.mask(state).tolist() == [True, False, True, True, False, False, True]
    state = tokens.advance(state, 0)
    state = tokens.advance(state, 0)
    assert tokens.mask(state).tolist() == [True, True, True, True, False, True, False]
