"""uniqueItems: masks that are made without the text of an item are those of the checks, byte by byte."""

import itertools
import json
import random
from fractions import Fraction
from typing import Any

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


def key(value: Any) -> Any:
    """Equal values of JSON, and only they, have equal keys."""
    if isinstance(value, list):
        return ("list", *map(key, value))
    if isinstance(value, dict):
        return ("dict", frozenset((name, key(inner)) for name, inner in value.items()))
    return (
        ("number", Fraction(value))
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else (str(type(value)), value)
    )


def spellings() -> list[bytes]:
    """Items, many of them in several spellings."""
    numbers = [[str(n), f"{n}.0", f"{n}.000000"] for n in (0, 1, 2, 7, 10, 12, 100, 101, 1000, -1, -10)]
    numbers += [["-0"], ["0.0"], ["1e0", "1E0", "1e+0", "1e-0"], ["1e1", "1e01"], ["1e2", "1e+002"], ["1.01e2", "101"], ["1e3"]]
    numbers += [["1.5", "1.50", "1.5e0"], ["15", "1.5e1", "1.5E+1"], ["0.15", "1.5e-1"], ["-1.5", "-1.500"], ["0.001", "1e-3"]]
    texts = [
        ['"a"', r'"\u0061"'],
        ['"ab"', r'"a\u0062"'],
        ['""'],
        ['"b"'],
        ['"é"', r'"\u00e9"', r'"\u00E9"'],
        [r'"\n"', r'"\u000a"'],
    ]
    texts += [['"aé"'], ['"/"', r'"\/"'], ['"😀"', r'"\ud83d\ude00"'], ['"1"'], ['"true"']]
    others = [["true"], ["false"], ["null"], ["[]"], ["[1]", "[1.0]"], ["[1,2]"], ["[2,1]"], ["{}"], ['{"a":1}', '{"a":1.0}']]
    others += [['{"a":1,"b":2}', '{"b":2,"a":1}'], ['{"a":2}'], ['[{"a":1}]'], ['{"a":[1]}']]
    return [text.encode() for text in itertools.chain(*numbers, *texts, *others)]


@pytest.mark.parametrize("seed", range(4))
def test_an_item_may_come_as_long_as_no_equal_one_was_there(seed: int) -> None:
    """Masks over tokens that are whole items, against a set of values; the order of what was there makes no difference."""
    rng = random.Random(seed)
    items = spellings()
    vocab = Vocab([*(item + b"," for item in items), b"[", b" ", None], end=[len(items) + 2])
    values = [key(json.loads(item)) for item in items]
    guide = json_schema({"type": "array", "uniqueItems": True})
    law = TokenGuide(guide, vocab)
    state, seen, said = law.advance(law.start(), len(items)), set(), []
    while len(seen) < len(set(values)):
        assert state is not None
        allowed = law.mask(state).tolist()[: len(items)]
        assert allowed == [value not in seen for value in values]
        token = rng.choice([t for t, free in enumerate(allowed) if free])
        seen.add(values[token])
        said.append(items[token])
        state = law.advance(state, token)
        if len(said) in (2, 5, 9, 20):
            other = rng.sample(said, len(said))
            here, there = (guide.advance(guide.start(), b"[" + b",".join(order) + b",") for order in (said, other))
            assert here == there
    assert state is not None
    assert not any(law.mask(state).tolist()[: len(items)])


def test_thousands_of_numbers_that_were_there() -> None:
    """Of 2,000 numbers each is refused in other spellings, and one that was not there is not."""
    rng = random.Random(3)
    numbers = rng.sample(range(10_000), 2_000)
    guide = json_schema({"type": "array", "items": {"type": "integer"}, "uniqueItems": True})
    state = guide.advance(guide.start(), b"[" + b",".join(b"%d" % n for n in numbers) + b",")
    for n in rng.sample(range(10_000), 400):
        for text in (b"%d," % n, b"%d.0," % n, b"-%d," % n if n else b"-0,"):
            fresh = n not in numbers or (text.startswith(b"-") and n > 0)
            assert (guide.advance(state, text) is not None) == fresh


def test_names_and_items_are_sets_of_their_own() -> None:
    """Objects whose names the masks do not know, beside items that were there: sets of names are no sets of items."""
    rng = random.Random(11)
    member = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    guide = json_schema(
        {"type": "object", "patternProperties": {"^x": member}, "minProperties": 2, "additionalProperties": member}
    )
    tokens = [bytes([b]) for b in b'{}[]:,"xy123']
    tokens += [b'"x":[', b'"y":[', b'","', b'"x":[1],"', b'"y":[2],"x":', b"1,2", b"],", b'],"', b"12,21", b'],"x', b'],"y":[1']
    check_walks(guide, Vocab([*tokens, None], end=[len(tokens)]), rng, walks=25, steps=14)
