"""Special tokens in guides: allowed where the guide names them, and nowhere else."""

from __future__ import annotations

import pytest

import espalier as es
from espalier.constraints import TokenGuide, thinking, token
from espalier.constraints.heal import anything
from espalier.constraints.special import spelled
from espalier.text.vocab import Vocab

VOCAB = Vocab(
    [b"<think>", b"h", b"m", b"o", b"</", b"{}", None, None, None], end=[8], names={6: "<think>", 7: "</think>", 8: "<end>"}
)
OPEN, CLOSE, END = 6, 7, 8


def walk(guide: es.Guide, tokens: list[int]) -> list[int] | None:
    """The tokens allowed after these, None where one of them is not."""
    law = guide.over(VOCAB)
    state = law.start()
    for t in tokens:
        assert law.allowed(state, t) == bool(law.mask(state)[t])
        state = law.advance(state, t)
        if state is None:
            return None
    return law.mask(state).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    "guide",
    [
        thinking(then=es.regex("o+"), most=2),
        es.cfg("root ::= <think> [hm]{0,2} </think> [o]+\n"),
        es.cfg("root ::= <[6]> [hm]{0,2} <[7]> [o]+\n", dialect="gbnf"),
        es.cfg("start: <think> /[hm]{0,2}/ </think> /o+/\n", dialect="lark"),
    ],
)
def test_regions_between_tokens(guide: es.Guide) -> None:
    assert walk(guide, []) == [OPEN]
    inside = walk(guide, [OPEN, 1])
    assert inside is not None
    assert {1, 2, CLOSE} <= set(inside)
    assert OPEN not in inside
    assert walk(guide, [OPEN, 1, 2]) == [CLOSE]
    assert walk(guide, [OPEN, CLOSE]) == [3]
    assert walk(guide, [OPEN, CLOSE, 3]) == [3, END]
    assert walk(guide, [OPEN, 1, CLOSE, 3, END]) == []
    assert walk(guide, [0]) is None  # the text that spells the name


@pytest.mark.parametrize(
    "guide", [es.regex("(?s:.*)"), ~es.regex("h"), es.constraints.avoids("x"), es.constraints.contains("h"), anything()]
)
def test_no_other_guide_allows_a_special_token(guide: es.Guide) -> None:
    allowed = walk(guide, [])
    assert allowed is not None
    assert not {OPEN, CLOSE} & set(allowed)


def test_tokens_are_spelled_by_bytes_that_no_text_holds() -> None:
    guide = token("<think>") + es.regex("o")
    assert guide.matches(spelled(6, "<think>") + b"o")
    assert not guide.matches(b"<think>o")
    assert token(6).matches(spelled(6, "<think>"))
    assert not token(7).matches(spelled(6, "<think>"))


def test_a_token_of_a_byte_does_not_spell_a_special_token() -> None:
    vocab = Vocab([*(bytes([b]) for b in range(256)), None, None], end=[257], names={256: "<t>"})
    law = TokenGuide(token("<t>"), vocab)
    assert [id for id in range(258) if law.allowed(law.start(), id)] == [256]
    assert law.mask(law.start()).nonzero().flatten().tolist() == [256]
