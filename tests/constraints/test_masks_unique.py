"""uniqueItems: masks that are made without the text of an item are those of the checks, byte by byte."""

import random

import pytest
from constraints.test_masks import check_walks

from espalier.constraints import TokenGuide, json_schema
from espalier.errors import Unsatisfiable
from espalier.text.vocab import Vocab

OBJECTS = {
    "type": "object",
    "properties": {"a": {"enum": [1, 2, [1]]}, "b": {"type": "string", "maxLength": 1}},
    "additionalProperties": False,
}
PIECES = ["[", "]", "{", "}", ",", ":", '"', '"a"', '"b"', '"a":', "1", "2", "[1]", "0", " ", "x"]


@pytest.mark.parametrize(
    "items",
    [
        OBJECTS,
        {"anyOf": [OBJECTS, {"enum": ["x", 1, True]}]},
        {"type": "array", "uniqueItems": True, "items": OBJECTS},
        {"type": "object", "additionalProperties": {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2, "x"]}}},
        {"type": "string"},
        {"type": "string", "maxLength": 1},
        {"type": "number", "multipleOf": 0.5},
        {},
    ],
)
@pytest.mark.parametrize(
    "array", [{"uniqueItems": True}, {"uniqueItems": True, "maxItems": 3}, {"anyOf": [{"uniqueItems": True}, {"maxItems": 2}]}]
)
def test_masks_under_unique_items_are_the_allowed_tokens(items: dict, array: dict) -> None:
    rng = random.Random(f"{items}{array}")
    tokens = {bytes([b]) for b in b'[]{},:" ab12x0.5\\n-e'}
    tokens |= {"".join(rng.choices(PIECES, k=rng.randrange(1, 7))).encode() for _ in range(250)}
    tokens |= {
        b"{},{}",
        b"},{",
        b'"},{"',
        b'","',
        b'"","',
        b'"x","x"',
        b"1,1",
        b"1,2,",
        b'":1},{"a":',
        b'{"a":1},',
        b"[],[]",
        b"},{},",
    }
    vocab = Vocab([*sorted(tokens), None], end=[len(tokens)])
    check_walks(json_schema({"type": "array", "items": items, **array}), vocab, rng, walks=4, steps=14)


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        (
            {"anyOf": [{"uniqueItems": True}, {"maxItems": 2}]},
            [b"[1,1]", b'[{},{"a":0},[]]', b"[1,2,3]"],
            [b"[1,1,2]", b"[{},{},1]"],
        ),
        (
            {"type": "array", "not": {"uniqueItems": True}},
            [b"[1,1.0]", b'[{"a":1,"b":[2]},{"b":[2.0],"a":1}]'],
            [b"[]", b"[1]", b"[1,2]"],
        ),
    ],
)
def test_repeated_items_are_refused_where_nothing_else_holds(schema: dict, valid: list[bytes], invalid: list[bytes]) -> None:
    guide = json_schema(schema)
    assert [guide.matches(text) for text in [*valid, *invalid]] == [True] * len(valid) + [False] * len(invalid)


@pytest.mark.parametrize("items", [{"type": "boolean"}, {"enum": ["t", "x", None]}, {"const": "x"}])
@pytest.mark.parametrize("array", [{}, {"minItems": 2}, {"minItems": 3}, {"minItems": 4}, {"maxItems": 2}])
def test_masks_where_the_items_come_to_an_end(items: dict, array: dict) -> None:
    rng = random.Random(f"{items}{array}")
    whole = [
        b"[false,",
        b"true",
        b"tr",
        b"ue",
        b"ue,",
        b"fal",
        b"se]",
        b'"x"',
        b'"x",',
        b"null",
        b"1,",
        b"1,2",
        b"ll]",
        b"1]",
        b", ",
    ]
    vocab = Vocab([*(bytes([b]) for b in b'[]{},:" 12xnultrefas'), *whole, None], end=[20 + len(whole)])
    try:
        guide = json_schema({"type": "array", "items": items, "uniqueItems": True, **array})
        guide.start()
    except Unsatisfiable:
        return
    law = TokenGuide(guide, vocab)
    for _ in range(12):
        state, text = law.start(), guide.start()
        while state is not None:
            mask = law.mask(state).tolist()
            by_bytes = [bool(t) and guide.advance(text, t) is not None for t in vocab.tokens]
            assert mask == [*by_bytes[:-1], guide.accepts(text)]
            tokens = [t for t in range(vocab.size) if by_bytes[t]]
            if not tokens:  # "over": such items may come to an end too early
                break
            token = rng.choice(tokens)
            state, text = law.advance(state, token), guide.advance(text, vocab.tokens[token])
