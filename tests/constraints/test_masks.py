"""Masks against checks: every token of random vocabularies, at every state of random walks."""

import random

import numpy as np
import pytest

from espalier import _grammar as g
from espalier.constraints import Limits, TokenGuide, cfg, choices, json_schema, regex
from espalier.constraints.vocab_masks import masks
from espalier.errors import InvalidInput, LimitExceeded, Unsatisfiable
from espalier.text.vocab import Vocab

PATTERNS = [
    r"(a|b)*c{2,30}d?",
    r"[ab]{3,5}&~(.*aa.*)",
    r'"[^"]{0,40}"(, "[^"]{5,}")*',
    r"(é|ab|c){20,70}",
    r"~(.*abc.*)",
    r".*b.{17}",
    r"\p{L}{1,18}( \d+)?",
    r"(ab?){0,3}[^ab]*",
    r"(a{16,40}|b{2,17})c",
    r".{0,25}&.*ab.*",
    r"a(?:b(?!b|c{3})|[^b])*a",
    r"(?:(?<=a)b|(?<!ab|c )é|\b[ac] ?)*",
    r"(?:(?!.*ab).{3}|(?=.*b)a){0,50}",
]


def vocabulary(rng: random.Random, letters: str) -> Vocab:
    tokens: list[bytes | None] = [bytes([b]) for b in "".join(letters).encode()]
    tokens += ["".join(rng.choices(letters, k=rng.randrange(1, 8))).encode() for _ in range(300)]
    tokens += [
        "é".encode()[:1],
        "é".encode()[1:],
        "aé".encode()[:2],
        "é😀".encode()[1:4],
        b"\xff",
        b"a" * 19,
        b"b" * 33,
        b"ab",
        b"ab",
    ]
    tokens += [None, None]
    return Vocab(tokens, end=[len(tokens) - 1])


@pytest.mark.parametrize("p", PATTERNS)
@pytest.mark.parametrize("seed", range(3))
def test_mask_is_the_set_of_allowed_tokens(p: str, seed: int) -> None:
    rng = random.Random(f"{p}{seed}")
    vocab = vocabulary(rng, 'ab"c, d1é')
    guide = regex(p)
    check_walks(guide, vocab, rng, walks=4, steps=25)


def check_walks(guide, vocab: Vocab, rng: random.Random, walks: int, steps: int) -> None:
    law = TokenGuide(guide, vocab)
    for _ in range(walks):
        state, text = law.start(), guide.start()
        for _ in range(steps):
            mask = law.mask(state).tolist()
            by_bytes = [bool(t) and guide.advance(text, t) is not None for t in vocab.tokens]
            for end in vocab.end:
                by_bytes[end] = guide.accepts(text)
            assert mask == by_bytes
            assert [law.allowed(state, t) for t in range(vocab.size)] == mask
            assert law.accepts(state) == guide.accepts(text)
            open_tokens = [t for t in range(vocab.size) if mask[t] and t not in vocab.end]
            if not open_tokens:
                assert guide.accepts(text), "an exact guide never leads to a dead end over a vocabulary of all bytes"
                break
            token = rng.choice(open_tokens)
            state = law.advance(state, token)
            path = text
            for byte in vocab[token]:
                path = guide.advance(path, bytes([byte]))
            text = guide.advance(text, vocab[token])
            assert text == path, "bytes one by one lead where the token leads"
            assert state is not None


@pytest.mark.parametrize("seed", range(4))
def test_composed_machines_have_the_masks_of_their_expression(seed: int) -> None:
    """`+`, `|` and repeat of machines that are not folded into one expression agree with the one that is."""
    rng = random.Random(seed)
    vocab = vocabulary(rng, 'ab"c, d1é')
    from espalier.constraints.guide import MachineGuide

    def raw(p: str):
        return regex(p).native().machine

    pairs = [
        (g.then_machine([raw("a*"), raw("[ab]+"), raw("c?")]), "a*[ab]+c?"),
        (g.either_machine([raw("a+b"), raw("a{3,}")]), "a+b|a{3,}"),
        (g.repeat_machine(raw("a|ab|,"), 2, 5), "(a|ab|,){2,5}"),
        (g.repeat_machine(raw("a*b?"), 2, g.INF), "(a*b?){2,}"),
        (g.then_machine([raw("abc*"), raw("[bd]*"), raw(",+")]), "abc*[bd]*,+"),
        (g.repeat_machine(raw(" *ab?c*"), 0, g.INF), "( *ab?c*)*"),
        (g.then_machine([g.repeat_machine(raw('"[^"]*"'), 1, g.INF), raw("d{3}")]), '("[^"]*")+d{3}'),
    ]
    for machine, p in pairs:
        composed, plain = MachineGuide(machine, p), regex(p)
        check_walks(composed, vocab, rng, walks=2, steps=12)
        x, y = TokenGuide(composed, vocab), TokenGuide(plain, vocab)
        s, t = x.start(), y.start()
        for _ in range(12):
            assert (x.mask(s) == y.mask(t)).all()
            open_tokens = [k for k in range(vocab.size) if x.mask(s)[k] and k not in vocab.end]
            if not open_tokens:
                break
            token = rng.choice(open_tokens)
            s, t = x.advance(s, token), y.advance(t, token)


NAMES = [
    {"type": "object", "properties": {"a": {"type": "integer"}}},
    {
        "type": "object",
        "patternProperties": {"^a": {"type": "integer"}, "b$": {"minimum": 1}},
        "additionalProperties": {"type": "null"},
    },
    {"type": "array", "uniqueItems": True, "items": {"type": ["string", "object"]}},
    {"type": "object", "propertyNames": {"pattern": "^[ab]+$"}, "required": ["ab"]},
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("schema", NAMES, ids=["open", "patterns", "unique", "names"])
def test_schemas_within_other_guides_have_the_masks_that_checks_say(schema, seed: int) -> None:
    """Captured names go through `+`, repeats and grammars as those of a schema alone do."""
    rng = random.Random(seed)
    vocab = vocabulary(rng, '{}":ab,1[]nul ')
    inner = json_schema(schema)
    for guide in (
        choices(["a", "{"]) + inner + regex("b+"),
        (inner + regex(",")).repeat(1, 2),
        cfg("s ::= '[' x ']' | x", x=inner),
    ):
        check_walks(guide, vocab, rng, walks=4, steps=30)


def test_products_restrict_both_sides() -> None:
    rng = random.Random(5)
    vocab = vocabulary(rng, 'ab"c, d1é')
    product = json_schema({"type": "string"}) & json_schema({"minLength": 3})
    law = TokenGuide(product, vocab)
    state = law.start()
    left, right = TokenGuide(product.a, vocab), TokenGuide(product.b, vocab)
    assert (law.mask(state) == left.mask(left.start()) & right.mask(right.start())).all()
    assert product.exactness == "over"
    assert product.matches(b'"abc"')
    assert not product.matches(b'"c"')


def test_forced_bytes_are_what_every_text_goes_on_with() -> None:
    guide = choices(["alpha-one", "alpha-two", "alpha-twenty"])
    start = guide.start()
    assert guide.forced(start) == b"alpha-"
    assert guide.forced(guide.advance(start, b"alpha-t")) == b"w"
    assert guide.forced(guide.advance(start, b"alpha-two")) == b""
    counted = regex("a{5}")
    assert counted.forced(counted.start()) == b"aaaaa"


def test_cursor_writes_into_the_callers_buffer() -> None:
    vocab = Vocab([b"a", b"b", b"ab", b"c", None], end=[4])
    buffer = np.zeros(1, dtype=np.int32)
    cursor = masks(regex("ab+c?"), vocab).start(buffer)
    seen = []
    for token in (2, 1, 3, 4):
        cursor.fill()
        seen.append([t for t in range(5) if buffer[0] >> t & 1])
        assert cursor.commit(token)
    cursor.fill()
    assert seen == [[0, 2], [1, 3, 4], [1, 3, 4], [4]]
    assert buffer[0] == 0
    assert not cursor.commit(0)


def test_ten_thousand_choices() -> None:
    rng = random.Random(0)
    words = sorted({"".join(rng.choices("abcd ,1é", k=rng.randrange(1, 12))) for _ in range(10_000)})
    guide = choices(words)
    assert all(guide.matches(w.encode()) for w in words[::97])
    known = set(words)
    assert not any(guide.matches(w.encode()) for w in (x + "a" for x in words[::31]) if w not in known)
    check_walks(guide, vocabulary(rng, 'ab"c, d1é'), rng, walks=2, steps=8)


def test_an_empty_language_is_an_error() -> None:
    with pytest.raises(Unsatisfiable):
        regex("a&b").start()


def test_mask_time_is_bounded() -> None:
    from espalier.errors import LimitExceeded

    rng = random.Random(3)
    vocab = Vocab([bytes([rng.choice(b"ab") for _ in range(rng.randrange(1, 40))]) for _ in range(20_000)] + [None])
    guide = regex("(.*a.{40}|.*b.{39}b)", limits=Limits(mask_us=100))
    law = TokenGuide(guide, vocab)
    with pytest.raises(LimitExceeded, match="regex"):
        law.mask(law.start())


def test_a_cursor_past_a_limit_raises_the_error_of_the_library() -> None:
    vocab = Vocab([b"a", b"b", b"c", b"ab" * 40, None], end=[4])
    guide = regex("(.*a.{18}b.*)&~(.*a.{17}b.*)&(.*b.{19}a.*)|c+", limits=Limits(states=3_000))
    cursor = masks(guide, vocab).start(np.zeros(1, dtype=np.int32))
    assert cursor.commit(2)
    cursor = masks(guide, vocab).start(np.zeros(1, dtype=np.int32))
    with pytest.raises(LimitExceeded, match="Limits"):
        cursor.fill()
    tight = regex("(.*a.{18}b.*)&~(.*a.{17}b.*)&(.*b.{19}a.*)|d+", limits=Limits(states=30))
    with pytest.raises(LimitExceeded, match="Limits"):
        masks(tight, vocab).start(np.zeros(1, dtype=np.int32)).commit(3)


def test_a_cursor_says_what_is_wrong_with_its_buffer() -> None:
    vocab = Vocab([b"a"] * 64, end=[])
    with pytest.raises(InvalidInput, match="needs 2"):
        masks(regex("a*"), vocab).start(np.zeros(1, dtype=np.int32))


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "not": {"pattern": "^ab"}}, b'"a'),
        ({"not": {"pattern": "^.b"}}, b'"6'),
        ({"uniqueItems": True}, b"[0,0E"),
        ({"uniqueItems": True}, b"[10,1.0"),
        ({"oneOf": [{"uniqueItems": True}, {"minItems": 2}]}, b"[1,1"),
    ],
)
def test_a_byte_is_in_the_mask_iff_it_is_not_refused(schema: dict[str, object], text: bytes) -> None:
    vocab = Vocab([*(bytes([b]) for b in range(32, 127)), None], end=[95])  # its tokens end at leaves of the trie
    guide = json_schema(schema)
    made = masks(guide, vocab)
    state, by = made.state(), guide.start()
    buffer = np.zeros(made.words, dtype=np.int32)
    for byte in [*text, None]:
        made.fill(state, buffer)
        found = {id for id in range(95) if int(buffer[id >> 5]) >> (id & 31) & 1}
        assert found == {id for id in range(95) if guide.advance(by, bytes([id + 32])) is not None}
        if byte is None or (after := guide.advance(by, bytes([byte]))) is None:
            break
        state, by = made.advance(state, byte - 32), after
