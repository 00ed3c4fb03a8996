"""Phrases that are owed, against brute force: clauses, order, whole words, deadlines; progress; what contradicts itself."""

from __future__ import annotations

import itertools
import random
import re
import time

import pytest
from constraints.languages import check_language, check_masks, texts

import espalier as es
from espalier.constraints import absent, avoids, contains, lexical
from espalier.constraints.words.owed import Owed
from espalier.errors import InvalidInput, Unsatisfiable
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b" ", b"ab", b"ba ", b" aa", b"bb", None], end=[7])


def there(phrase: str, text: bytes, words: bool = False) -> list[int]:
    """Where the phrase ends in the text."""
    edges = (rb"(?<![ab])", rb"(?![ab])") if words else (b"", b"")
    pattern = re.compile(b"(?=(" + edges[0] + re.escape(phrase.encode()) + edges[1] + b"))")
    return [match.start() + len(phrase) for match in pattern.finditer(text)]


def holds(clause, text: bytes, words: bool, within: int | None) -> bool:
    ways = [clause] if isinstance(clause, str) else clause
    room = len(text) if within is None else within
    return any(
        not there(way, text, words) if isinstance(way, absent) else any(end <= room for end in there(way, text, words))
        for way in ways
    )


def ordered(clauses, text: bytes, words: bool, room: int) -> bool:
    """Whether the clauses' phrases come one after the other, the earliest end first."""
    at = 0
    for clause in clauses:
        ways = [clause] if isinstance(clause, str) else clause
        ends = [end for way in ways for end in there(way, text, words) if end - len(way) >= at]
        if not ends:
            return False
        at = min(ends)
    return at <= room


CASES = [
    (["ab"], {}),
    (["ab", "ba"], {}),
    ([["aa", "bb"], "ab"], {}),
    ([["aa", absent("b")]], {}),
    (["ab"], {"must_not": ["bb"]}),
    (["ab", "ba"], {"in_order": True}),
    ([["a", "bb"], "b"], {"in_order": True, "within": 4}),
    (["ab"], {"within": 3}),
    (["ab", "ba"], {"within": 4}),
    ([["ab", absent("a")], "bb"], {"within": 5}),
    (["a", "b"], {"whole_words": True}),
    (["ab"], {"whole_words": True, "within": 4}),
    (["ab", "ba", "bb", "aa", "a", "b"], {"within": 6}),
    (["ab", ["ba", "bbb"], "bb", "a a", "a", " "], {"within": 7}),
    (["ab", ["ba", "a"], "b", "a", "ab a", "a b"], {"whole_words": True, "within": 6}),
    (["a"], {"whole_words": True, "must_not": ["b"]}),
    (["a", ["b", "bb"]], {"whole_words": True, "in_order": True}),
]


@pytest.mark.parametrize(("clauses", "options"), CASES, ids=str)
def test_lexical_has_its_language(clauses, options) -> None:
    guide = lexical(*clauses, **options)
    words, within = options.get("whole_words", False), options.get("within")

    def member(text: bytes) -> bool:
        if any(there(bad, text, words) for bad in options.get("must_not", ())):
            return False
        if options.get("in_order"):
            return ordered(clauses, text, words, len(text) if within is None else within)
        return all(holds(clause, text, words, within) for clause in clauses)

    check_language(guide, member, alphabet=b"ab ", length=4, ahead=8)
    check_masks(guide, VOCAB, steps=2)


def test_what_is_owed_is_written_in_time_with_many_phrases() -> None:
    """More clauses than the regular expression holds: every text that is allowed has them all by the deadline."""
    phrases = ["ab", "bb", "a a", "b b", "aa", "ba"]
    guide = contains(*phrases, within=14)
    rng = random.Random(3)
    law = guide.over(VOCAB)
    for _ in range(60):
        state, text = law.start(), b""
        while len(text) < 20:
            mask = law.mask(state).tolist()
            ways = [t for t, on in enumerate(mask) if on]
            assert mask == [law.allowed(state, t) for t in range(8)]
            assert ways, f"stuck after {text!r}"
            token = rng.choice(ways)
            if token == 7:
                break
            state, text = law.advance(state, token), text + VOCAB[token]
        assert all(phrase.encode() in text[:14] for phrase in phrases), text
        assert law.accepts(state)


@pytest.mark.parametrize("words", [False, True])
def test_masks_under_a_deadline_are_what_checks_say(words: bool) -> None:
    """Also where only long tokens can miss it, with alternatives, and for phrases that begin at the end of the text."""
    phrases = [["ab", "bab"], "bb", "a a", "b b", "aa", "ba"]
    for within in (19, 22, 27):
        guide, rng = lexical(*phrases, whole_words=words, within=within), random.Random(within)
        law = guide.over(
            Vocab([b"a", b"b", b" ", b"ab", b"ba ", b" aa", b"bb", b"b b ab", b"aab ba bb a", b"      ", None], end=[10])
        )
        for _ in range(25):
            state = law.start()
            for _ in range(14):
                mask = law.mask(state).tolist()
                assert mask == [law.allowed(state, token) for token in range(11)]
                token = rng.choice([token for token, on in enumerate(mask) if on])
                if token == 10:
                    break
                state = law.advance(state, token)


@pytest.mark.parametrize("words", [False, True])
def test_what_is_owed_is_the_shortest_end(words: bool) -> None:
    """Against all ends of at most seven bytes, behind random texts."""
    rng, looked = random.Random(5), 0
    edges = (rb"(?<!\w)", rb"(?!\w)") if words else (b"", b"")

    def met(ways, text: bytes) -> bool:
        return any(re.search(edges[0] + re.escape(way) + edges[1], text) for way in ways)

    while looked < 150:
        clauses = [[bytes(rng.choices(b"ab", k=rng.randrange(1, 4))) for _ in range(rng.randrange(1, 3))] for _ in range(3)]
        tail = bytes(rng.choices(b"ab ", k=rng.randrange(5)))
        unmet = {i for i, ways in enumerate(clauses) if not met(ways, tail)}
        ended = {i for i, ways in enumerate(clauses) if words and i not in unmet and not met(ways, tail + b"x")}
        found = Owed(clauses, words).fewest(unmet, tail, ended)
        if found > 6:
            continue
        looked += 1
        shorter = (bytes(end) for n in range(found + 1) for end in itertools.product(b"ab ", repeat=n))
        best = next(len(end) for end in shorter if all(met(ways, tail + end) for ways in clauses))
        assert found == best, (clauses, tail)


def test_many_phrases_that_overlap_are_counted_one_after_the_other() -> None:
    short = Owed([[word.encode()] for word in ("tea", "eat", "ate")], words=False)
    assert short.exact
    assert short.fewest({0, 1, 2}, b"") == len("teate") == 5
    many = Owed([[f"a{n:02}a".encode()] for n in range(30)], words=False)
    assert not many.exact
    assert many.fewest(range(30), b"") == 120, "never too few"


def test_a_budget_of_tokens_never_ends_without_the_phrase() -> None:
    model = es.models.Table.random(VOCAB.size, depth=1, seed=0)
    model.vocab = VOCAB
    stop = es.stop.end([7]) | es.stop.budget(12)
    decoders = [es.sample(model * contains("abba", within=12), es.Prefix([0]), stop, es.Rng(seed)) for seed in range(40)]
    for x in es.run(*decoders):
        assert b"abba" in VOCAB.join(x.written())


def test_twenty_phrases_stay_within_the_default_limits() -> None:
    phrases = [f"{a}{b}c" for a, b in itertools.product("abcd", "vwxyz")]
    guide = contains(*phrases)
    text = " ".join(phrases).encode()
    assert guide.matches(text)
    assert not guide.matches(text[:-1])
    timed = contains(*phrases, within=70)
    assert timed.matches("".join(phrases).encode())
    assert timed.advance(timed.start(), b"x" * 20) is None
    vocab = Vocab([bytes([b]) for b in range(97, 123)] + [None], end=[26])
    began = time.process_time()
    assert int(timed.over(vocab).mask(timed.start()).sum()) == 26
    assert time.process_time() - began < 1.0, "the default limit of a mask is 10 s"
    assert int(guide.over(vocab).mask(guide.start()).sum()) == 26


@pytest.mark.parametrize("words", [False, True])
def test_progress_is_what_the_text_has_met(words: bool) -> None:
    clauses = ["ab", ["ba", "bb"], [absent("aa"), "b"]]
    guide = lexical(*clauses, whole_words=words)
    for text in texts(b"ab ", 5):
        state = guide.advance(guide.start(), text)
        progress = guide.progress(state)
        met = {i for i, clause in enumerate(clauses) if holds(clause, text, words, None)}
        assert progress.clauses == met
        assert (progress.met == progress.of) == guide.accepts(state)
    start = guide.start()
    assert guide.progress(guide.advance(start, b"b a")).begun == 1
    assert guide.over(VOCAB).progress(guide.advance(start, b"ab")).met >= 1


def test_progress_stays_beside_another_guide() -> None:
    both = contains("ab") & es.regex("[ab]*")
    assert both.exactness == "exact"
    assert both.progress(both.advance(both.start(), b"xab"[1:])).met == 1
    assert (es.regex("a") | es.regex("b")).progress(1) == 0


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: lexical("tea", must_not=["ea"]), Unsatisfiable, "'tea' must appear and 'ea', which is in it, must not"),
        (lambda: lexical("tea", "cup", within=4), Unsatisfiable, "give more room with within"),
        (lambda: contains(*"abcdef", within=4), Unsatisfiable, "give more room with within"),
        (lambda: lexical(), InvalidInput, "at least one phrase"),
        (lambda: lexical("a", []), InvalidInput, "an empty list"),
        (lambda: lexical(""), InvalidInput, "a phrase is empty"),
        (lambda: contains(3), InvalidInput, "3 is no phrase"),  # type: ignore[arg-type]
        (lambda: lexical([absent("a")], in_order=True), InvalidInput, "has no place in an order"),
        (lambda: contains("a", within=-1), InvalidInput, "a number of bytes"),
        (avoids, InvalidInput, "at least one phrase"),
    ],
)
def test_wrong_use_is_told(call, error, says) -> None:
    with pytest.raises(error, match=says):
        call()
