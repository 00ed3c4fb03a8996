"""Texts that end in time: the law by enumeration, over regular guides, grammars and schemas, and through `generate`."""

from __future__ import annotations

import functools
import json
import string
import time
from typing import Any

import pytest
import torch
from toys import random_lm, speaks

import espalier as es
from espalier.constraints import within
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

LETTERS = Vocab([b"(", b")", b"a", b"b", b"ab", b"))", b"(a", None], end=[7])
JSON = Vocab([b"{", b"}", b'"', b"a", b":", b",", b"[", b"]", b"1", b"2", b'{"', b'":', b'"}', b"1]", None, None], end=[14])
FEW = Vocab([b'{"', b'":', b'"', b"}", b"[", b"]", b"1", b"a", b"]}", None], end=[9])
LARGE = Vocab(
    [*(bytes([c]) for c in range(32, 127)), b"ab", b"aaa", b'"}', b'"xx', b"]]", b'xx"', b"(a", None, None], end=[102]
)
GUIDES: list[tuple[es.Guide, Vocab, int]] = [
    (es.regex("a{2,4}b|ab(ab)*a"), LETTERS, 5),
    (es.regex("(aab)*"), LETTERS, 5),
    (es.regex("[ab]*") & es.regex("(..)*a"), LETTERS, 5),
    (es.cfg('s ::= "(" s ")" | "a" | s "b"'), LETTERS, 5),
    (es.cfg('s ::= "" | "(" s ")" s'), LETTERS, 6),
    (es.cfg('s ::= "(" s ")" | v', v=es.regex("a{3}")), LETTERS, 7),
    (es.regex("a+") + es.cfg('s ::= "(" s ")" | "b"'), LETTERS, 6),
    (es.regex("ab").repeat(1, 3), LETTERS, 4),
    (es.json_schema({"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": False},
                    whitespace="compact"), JSON, 6),
    (es.json_schema({"type": "array", "items": {"enum": [1, 2, 11]}, "minItems": 2}, whitespace="compact"), JSON, 6),
    (es.json_schema({"type": "object", "additionalProperties": {"type": "array", "items": {"enum": [1]}},
                     "propertyNames": {"maxLength": 1}, "minProperties": 1},
                    whitespace="compact"), FEW, 6),
    # of more than 64 tokens: a longer text may need fewer of them
    (es.regex("a{2,4}b|ab(ab)*a|bbb"), LARGE, 4),
    (es.regex("(a|b{4})(xx|aaa)(ab)*"), LARGE, 4),
    (es.json_schema({"enum": ["", "xx", "y"]}, whitespace="compact"), LARGE, 3),
    (es.regex("[ab]*") & es.regex("(...)*a"), LARGE, 3),
    (es.cfg('s ::= "(" s ")" | "a" | "bb"'), LARGE, 5),
]  # fmt: skip


@pytest.mark.parametrize(("guide", "vocab", "tokens"), GUIDES)
def test_the_law_by_enumeration(guide: es.Guide, vocab: Vocab, tokens: int) -> None:
    """A token is allowed iff some text of the guide goes on with it and is finished in time."""
    law, plain = within(guide, tokens=tokens).over(vocab), guide.over(vocab)
    step = functools.cache(plain.advance)

    @functools.cache
    def over(state: Any) -> bool:
        return plain.accepts(state) and all(step(state, t) is None for t in range(vocab.size))

    @functools.cache
    def ends(state: Any, left: int) -> bool:
        if left < 0 or state is None:
            return False
        return over(state) or any(ends(step(state, t), left - 1) for t in range(vocab.size))

    todo, seen = [(law.start(), plain.start(), tokens)], 0
    while todo:
        state, at, left = todo.pop()
        want = [ends(step(at, t), left - 1) for t in range(vocab.size)]
        assert law.mask(state).tolist() == want
        assert [law.allowed(state, t) for t in range(vocab.size)] == want
        assert any(want) or over(at)
        seen += 1
        if seen < 150:
            todo += [(law.advance(state, t), step(at, t), left - 1) for t in range(vocab.size) if want[t]]
    assert seen > 3


def test_rows_are_the_models_restricted_to_what_ends_in_time() -> None:
    guide, n = es.cfg('s ::= "(" s ")" | "a" | s "b"'), 5
    model = es.models.Table.random(vocab_size=LETTERS.size, depth=2, seed=3)
    model.vocab = LETTERS
    law = within(guide, tokens=n).over(LETTERS)
    root = es.Prefix([2])

    def rows(scorer: es.Scorer, x: es.Prefix) -> torch.Tensor:
        def ask() -> Any:
            found = yield es.Ask(scorer, [x])
            return found

        [got] = es.run(ask())
        return got[0].dense()

    scorer, todo = model * within(guide, tokens=n), [(root, law.start())]
    while todo:
        x, state = todo.pop()
        if x is not root and x.last in LETTERS.end:
            continue
        allowed = law.mask(state)
        want = torch.log_softmax(rows(model, x).masked_fill(~allowed, -torch.inf), -1)
        assert torch.allclose(rows(scorer, x), want)
        todo += [(x + t, law.advance(state, t)) for t in allowed.nonzero().flatten().tolist()]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("tokens", [12, 30])
def test_generate_ends_in_time(temperature: float, tokens: int) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    lm = random_lm(seed=2, merged=["me", '":', '{"'])
    for seed in range(2):
        out = lm.complete(es.raw("x"), schema=schema, temperature=temperature, seed=seed, max_tokens=tokens)
        assert out.whole
        assert len(out.tokens) <= tokens
        assert set(json.loads(out.text)) >= {"name"}
    words = lm.complete(es.raw("x"), grammar='s ::= "(" s ")" | [a-z] s | "."', in_time=True, max_tokens=tokens)
    assert words.whole


def test_hurried_says_that_the_budget_has_spoken() -> None:
    lm = speaks(["x" + json.dumps({"name": string.ascii_letters})])
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert not lm.complete(es.raw("x"), schema=schema, max_tokens=100).hurried
    short = lm.complete(es.raw("x"), schema=schema, max_tokens=30)
    assert (short.hurried, short.whole) == (True, True)
    assert len(short.tokens) <= 30
    assert short.parsed["name"].startswith("abcdefgh")
    cut = lm.complete(es.raw("x"), schema=schema, max_tokens=30, in_time=False)
    assert (cut.hurried, cut.whole) == (False, False)


def test_what_no_text_is_short_enough_for() -> None:
    lm = random_lm()
    with pytest.raises(InvalidInput, match="at least"):
        lm.complete(es.raw("x"), regex="a{50}", in_time=True, max_tokens=10)
    cut = lm.complete(es.raw("x"), regex="a{50}", in_time="try", max_tokens=10)
    assert (cut.finish_reason, cut.whole) == ("length", False)
    assert lm.complete(es.raw("x"), regex="a{5,}", in_time="try", max_tokens=10).whole
    with pytest.raises(InvalidInput, match="in_time"):
        lm.complete(es.raw("x"), regex="a", in_time="maybe")
    with pytest.raises(InvalidInput, match="in_time=True finishes a text under schema="):
        lm.complete(es.raw("x"), in_time=True)
    with pytest.raises(InvalidInput, match="tokens=0"):
        within(es.regex("a"), tokens=0)


def test_what_is_owed_of_deep_and_wide_schemas_is_found_quickly() -> None:
    row = {"type": "object", "properties": {f"name{i}": {"type": "string"} for i in range(20)}, "additionalProperties": False}
    row["required"] = list(row["properties"])
    schema = {"properties": {"rows": {"type": "array", "items": row, "minItems": 3}, "n": {"minimum": 1000, "type": "integer"}},
              "type": "object", "required": ["n", "rows"], "additionalProperties": False}  # fmt: skip
    vocab = Vocab([bytes([b]) for b in range(128)] + [None], end=[128])
    guide = es.json_schema(schema, whitespace="compact", numbers="plain")
    least = len(json.dumps({"n": 1000, "rows": [dict.fromkeys(row["properties"], "")] * 3}, separators=(",", ":"))) + 1
    assert within(guide, tokens=least).over(vocab).start()
    with pytest.raises(InvalidInput, match=f"at least {least}"):
        within(guide, tokens=least - 1).over(vocab).start()


@pytest.mark.parametrize(
    ("begun", "owes"),
    [("\\", 2), ("\\u", 5), ("\\u0", 4), ("\\ud", 4), ("\\ud7", 3), ("\\ud8", 9), ("\\udbff", 7), ("\\ud83d\\", 6),
     ("\\ud83d\\u", 5), ("\\ud83d\\udc", 3), ("\\ue0", 3), ("\\ufffe", 1), ("x\\n", 1)],
)  # fmt: skip
def test_what_an_escape_owes(begun: str, owes: int) -> None:
    vocab = Vocab([bytes([b]) for b in range(128)] + [None], end=[128])
    for schema, before, after in (({"type": "string"}, '"', 0), ({"type": "object"}, '{"', len(":0}"))):
        text = (before + begun).encode()
        for spare in (0, -1):
            law = within(es.json_schema(schema, whitespace="compact"), tokens=len(text) + owes + after + 1 + spare).over(vocab)
            state: Any = law.start()
            for byte in text:
                state = None if state is None else law.advance(state, byte)
            assert (state is None) == (spare < 0)


def test_names_begun_in_any_order_can_be_finished() -> None:
    number = {"type": "integer"}
    schema = {"type": "object", "properties": {"x": number, "yes": number, "yet": number}, "required": ["x", "yes", "yet"]}
    guide = es.json_schema({**schema, "additionalProperties": False}, whitespace="compact")
    text = b'{"yet":1,"x":2,"yes":3}'
    for tokens in (len(text) + 1, 400):  # exactly enough for single bytes, and much more
        law = within(guide, tokens=tokens).over(LARGE)
        state = law.start()
        for byte in text:
            assert law.mask(state)[byte - 32], (tokens, chr(byte))
            state = law.advance(state, byte - 32)
        assert law.accepts(state)


SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shape": {"type": "string"},
        "size": {
            "type": "object",
            "properties": {name: {"type": "number"} for name in ("length", "radius", "width")},
            "required": ["length", "radius", "width"],
        },
    },
    "required": ["shape", "size"],
}


@pytest.mark.parametrize("begun", ["", '{"name": "', '{"shape": "r", "data": {"name": "x"', '{"data": {"a": {"b": [1, {"c": "'])
@pytest.mark.parametrize("numbers", ["json", "plain"])
def test_an_end_is_known_where_much_is_owed_outside_what_is_open(begun: str, numbers: Any) -> None:
    """The search for the nearest end gives up there; then some end is as good, and so many bytes are owed at most."""
    guide = es.json_schema(SHAPE, numbers=numbers)
    state = guide.advance(guide.start(), begun.encode())
    bytes_, found, text = guide.engine.native().shortest(state)
    assert found
    assert bytes_ <= len(text) <= bytes_ + 20
    assert guide.matches(begun.encode() + text)


def test_members_of_their_own_still_end_in_time() -> None:
    """A text that writes open objects until the budget speaks is finished, with what the outer one demands."""
    lm = speaks(['{"data": {"name": "' + "a" * 200])
    for tokens in (100, 140):
        out = lm.complete(es.raw("x"), schema=SHAPE, max_tokens=tokens)
        assert out.finish_reason == "stop"
        assert out.hurried
        assert set(json.loads(out.text)) == {"data", "shape", "size"}


def test_far_from_the_end_tokens_are_looked_at_when_they_are_chosen() -> None:
    guide = es.regex("a*|[(]x{300}")
    law = within(guide, tokens=100).over(LARGE)
    state = law.start()
    opens, again = LARGE.ids[b"("], LARGE.ids[b"a"]
    assert law.mask(state)[opens]
    assert not law.allowed(state, opens)
    for _ in range(40):
        state = law.advance(state, again)
    assert not law.mask(state)[opens]
    words = random_lm(seed=4).complete(es.raw("x"), regex="(ab){0,60}|a[(]x{300}", in_time=True, max_tokens=100, top_p=0.9)
    assert words.whole


CALL = {
    "type": "object",
    "properties": {
        "name": {"const": "search"},
        "arguments": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "filters": {"type": "object"}},
            "required": ["query"],
        },
    },
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
OPEN: list[dict[str, Any]] = [
    {"type": "object"},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 2},
    CALL,
]


@pytest.fixture(scope="module")
def words() -> Vocab:
    """As many tokens as a real model has: each byte, joined marks, 32,000 words."""
    letters = string.ascii_letters
    several = [f"{a}{b}{c}".encode() for a in letters for b in letters[:40] for c in letters[:16]]
    marks = [b'":', b'"}', b'{"', b'":"', b'""', b"},", b'","', b'"]']
    return Vocab([*(bytes([b]) for b in range(256)), *marks, *several[:32_000], None], end=[256 + len(marks) + 32_000])


@pytest.mark.parametrize("schema", OPEN, ids=["object", "integers", "unique", "call"])
def test_names_of_one_sort_share_a_state_in_a_large_vocabulary(schema: dict[str, Any], words: Vocab) -> None:
    law = within(es.json_schema(schema, whitespace="compact", numbers="plain"), tokens=64).over(words)
    state, text, rng, shared = law.start(), [], es.Rng(1), 0
    likely = torch.tensor([1.0 if t.isalpha() else 1e-9 if b"}" in t or b"]" in t or not t else 1e-6 for t in words.tokens])
    began = time.process_time()
    for _ in range(64):
        allowed = law.mask(state)
        if not allowed.any():
            break
        found = law._owed.successors(state[0])
        shared = max(shared, int(allowed.sum()) - len(found[0])) if found is not None else shared
        weights = allowed.double() * likely
        token = rng.categorical(weights / weights.sum())
        following = law.advance(state, token)
        assert following is not None
        state = following
        text.append(words.tokens[token] or b"")
    assert law.accepts(state)
    assert json.loads(b"".join(text).decode(errors="replace")) is not None
    assert shared > 30_000  # so many tokens led to a state that another one led to
    assert law.hurried([words.ids[data] for data in text if data])
    assert time.process_time() - began < 20
