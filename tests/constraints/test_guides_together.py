"""Guides of every kind in random compositions of two, against the languages of their parts; and under every decoder."""

from __future__ import annotations

import json
import random

import pytest
from constraints.languages import texts

import espalier as es
from espalier.constraints import (
    Segment,
    Tag,
    contains,
    lexical,
    ltl,
    monitor,
    ordered,
    permutation,
    predicate,
    subset,
    substring,
    tags,
    unique,
    vocabulary,
    within,
)
from espalier.errors import DeadEnd, Unsatisfiable
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b" ", b"ab", b"ba", b" a", None], end=[6])
GUIDES = {
    "lexical": lexical(["ab", "bb"], must_not=["ba"]),
    "within": contains("ab", within=4),
    "permutation": permutation(["a", "b"], " "),
    "subset": subset(["a", "ab"], "b"),
    "ordered": ordered(["a", "b"], "", at_least=1),
    "unique": unique(es.regex("[ab]{1,2}"), " "),
    "substring": substring("ab ba"),
    "letters": vocabulary.letters(banned="b"),
    "palindrome": vocabulary.palindrome(letters=3),
    "anagram": vocabulary.anagram("aab"),
    "syllables": vocabulary.syllables([2], lambda word: [["AA1"] * word.count("a")]),
    "predicate": predicate(lambda text: "aa" not in text, lambda text: len(text) % 2 == 0),
    "monitor": monitor("b", lambda text: ["a"]),
    "ltl": ltl("a & X b & G(b -> last)", {"a": Segment("a", es.regex("a?"), ""), "b": Segment("b", es.regex(" *"), "")}),
    "tags repeated": tags([Tag("a", es.regex("b"), " ")], stop_after_first=True, at_least_one=True).repeat(1, 2),
}
SHORT = texts(b"ab ", 5)


@pytest.mark.parametrize("seed", range(30))
def test_random_compositions_have_the_languages_of_their_parts(seed: int) -> None:
    rng = random.Random(seed)
    (left, a), (right, b) = rng.choice(list(GUIDES.items())), rng.choice(list(GUIDES.items()))
    one, other = ({text for text in SHORT if guide.matches(text)} for guide in (a, b))
    try:
        guides = {"|": a | b, "&": a & b, "+": a + b, "repeat": (a | b).repeat(0, 2)}
    except Unsatisfiable:
        return
    either = one | other
    expected = {
        "|": either,
        "&": one & other,
        "+": {x + y for x in one for y in other},
        "repeat": {b""} | either | {x + y for x in either for y in either},
    }
    for sign, guide in guides.items():
        for text in rng.sample(SHORT, 60):
            try:
                found = guide.matches(text)
            except Unsatisfiable:
                found = False
            assert found == (text in expected[sign]), f"{left} {sign} {right}: {text!r}"


@pytest.mark.parametrize("name", GUIDES)
def test_speculation_is_sampling_and_a_beam_stays_inside(name: str) -> None:
    guide = GUIDES[name]
    model = es.models.Table.random(VOCAB.size, depth=1, seed=7)
    model.vocab = VOCAB
    scorer, stop, x = model * guide, es.stop.end([6]) | es.stop.budget(8), es.Prefix([0])
    verify = es.verification.SampleMatch()
    for seed in range(4):
        [plain] = es.run(es.sample(scorer, x, stop, es.Rng(seed)))
        for drafter in (es.drafting.PromptLookup(tokens=3), es.drafting.Forced(guide, VOCAB)):
            [drafted] = es.run(es.speculate(scorer, x, stop, drafter, verify, es.Rng(seed)))
            assert drafted.written() == plain.written(), f"{name}, seed {seed}"
        if plain.last == 6:
            assert guide.matches(VOCAB.join(plain.written()))
    try:
        [found] = es.run(es.beam(scorer, x, stop, width=4))
    except (Unsatisfiable, DeadEnd):
        return
    for h in found:
        text = VOCAB.join(h.prefix.written())
        assert guide.matches(text) if h.prefix.last == 6 else guide.advance(guide.start(), text) is not None


@pytest.mark.parametrize("seed", range(3))
def test_names_share_a_state_in_a_schema_within_a_guide(seed: int) -> None:
    call = {
        "type": "object",
        "properties": {"name": {"const": "f"}, "arguments": {"type": "object"}},
        "required": ["name", "arguments"],
    }
    guide = es.constraints.choices(["<call>"]) + es.json_schema(call) + es.constraints.choices(["</call>"])
    law = within(guide, tokens=300).over(Vocab([*(bytes([b]) for b in range(256)), None], end=[256]))
    state, text, rng = law.start(), bytearray(), es.Rng(seed)
    while not law.accepts(state):
        allowed = law.mask(state).double()
        state = law.advance(state, token := rng.categorical(allowed / allowed.sum()))
        text.append(token)
        assert state is not None
    assert json.loads(bytes(text).decode(errors="replace")[6:-7])["name"] == "f"
    assert len(law._owed._bounds) < 3_000  # each name apart: 6,000 to 9,000
