"""Permutations, subsets, ordered lists, lists without repetition, spans of a text: by brute force, masks, decoders, time."""

from __future__ import annotations

import itertools
import pickle
import random
import time

import pytest
from constraints.languages import check_language, check_masks, texts

import espalier as es
from espalier.constraints import ordered, permutation, subset, substring, unique
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b"-", b"ab", b"a-", b"-b", b"b-ab", b"a-b-ab", None], end=[8])
LISTS = [["a", "b", "ab"], ["a"], ["aa", "a", "b"], ["ab", "a", "-"]]


def spelled(lists, separator: str) -> set[bytes]:
    return {separator.join(chosen).encode() for chosen in lists}


def chosen(items, lo, hi, order):
    pick = itertools.combinations if order else itertools.permutations
    return [list(some) for n in range(lo, hi + 1) for some in pick(items, n)]


@pytest.mark.parametrize("separator", ["-", "", "--", "a"])
@pytest.mark.parametrize("items", LISTS, ids=str)
def test_selections_have_their_language(items: list[str], separator: str) -> None:
    size = len(items)
    cases = [
        (permutation(items, separator), chosen(items, size, size, False)),
        (subset(items, separator), chosen(items, 0, size, False)),
        (subset(items, separator, at_least=1, at_most=min(2, size)), chosen(items, 1, min(2, size), False)),
        (ordered(items, separator), chosen(items, 0, size, True)),
        (ordered(items, separator, at_least=min(2, size)), chosen(items, min(2, size), size, True)),
    ]
    for guide, lists in cases:
        members = spelled(lists, separator)
        check_language(guide, members.__contains__, alphabet=b"ab-", length=5, ahead=8)
        check_masks(guide, VOCAB, steps=2)
        assert pickle.loads(pickle.dumps(guide)) == guide
        assert repr(guide).startswith(guide.name)


@pytest.mark.parametrize("guide", [permutation(["a", "b", "ab"], "-"), ordered(["a", "b", "ab"], "-", at_least=1)], ids=repr)
def test_walks_over_tokens_are_never_stuck(guide: es.Guide) -> None:
    rng, law, letters = random.Random(0), guide.over(VOCAB), Vocab([b"a", b"b", b"-", None], end=[3])
    for law in (guide.over(letters),):
        for _ in range(40):
            state = law.start()
            for _ in range(12):
                ways = [t for t, on in enumerate(law.mask(state).tolist()) if on]
                assert ways
                token = rng.choice(ways)
                if token == 3:
                    break
                state = law.advance(state, token)


def test_a_mask_of_two_hundred_items_takes_less_than_a_millisecond() -> None:
    rng = random.Random(1)
    items = [f"passage {n} on {rng.choice('abcdefgh') * 3}" for n in range(200)]
    pieces = {item[i : i + size].encode() for item in items for size in (1, 2, 4, 7) for i in range(len(item) - size + 1)}
    vocab = Vocab([*sorted(pieces | {b", ", b"x, pass", b"]"}), None], end=[len(pieces | {b", ", b"x, pass", b"]"})])
    guide = permutation(items)
    masks = es.masks(guide, vocab)
    state = masks.state()
    import numpy as np

    buffer = np.zeros(masks.words, dtype=np.int32)
    order = rng.sample(items, 200)
    took = []
    for item in order[:60]:
        state = guide.advance(state, item.encode())
        state = guide.advance(state, b", ")
        masks.fill(state, buffer)  # the tables of this place are made
    for item in order[60:160]:
        state = guide.advance(state, item.encode())
        state = guide.advance(state, b", ")
        began = time.process_time()
        masks.fill(state, buffer)
        took.append(time.process_time() - began)
        allowed = {t for t in range(vocab.size) if int(buffer[t >> 5]) >> (t & 31) & 1}
        assert not allowed & set(vocab.end)
    assert sorted(took)[len(took) // 2] < 1e-3, f"median {sorted(took)[len(took) // 2]:.6f} s"
    rest = order[160:]
    assert guide.matches(", ".join(order).encode())
    assert guide.advance(state, rest[0].encode()) is not None
    assert guide.advance(state, order[0].encode() + b", ") is None


def test_sampling_a_ranking_has_the_law_of_plackett_and_luce() -> None:
    """With weights that do not depend on the text, the law is the product of shares among what is left."""
    from espalier.testing import assert_same_law, exact_law

    vocab = Vocab([b"A", b"B", b"C", None], end=[3])
    weights = [0.1, 0.3, 0.6]
    import torch

    model = es.models.Table(4, 0, lambda _: torch.tensor([*weights, 0.5], dtype=torch.float64).log())
    model.vocab = vocab
    guide = permutation(["A", "B", "C"], "")
    scorer, stop, x = model * guide | es.top_p(1.0), es.stop.end([3]), es.Prefix([0])  # by masks: fewer flips to replay
    law = exact_law(lambda rng: es.sample(scorer, x, stop, rng), lambda x: vocab.join(x.written()).decode())
    expected = {}
    for order in itertools.permutations(range(3)):
        p, left = 1.0, 1.0
        for item in order:
            p, left = p * weights[item] / left, left - weights[item]
        expected["".join("ABC"[item] for item in order)] = p
    assert_same_law(law, expected)
    forced, verify = es.drafting.Forced(guide, vocab), es.verification.SampleMatch()
    drafted = exact_law(
        lambda rng: es.speculate(scorer, x, stop, forced, verify, rng), lambda x: vocab.join(x.written()).decode()
    )
    assert_same_law(drafted, expected)


@pytest.mark.parametrize("separator", ["-", "--"])
@pytest.mark.parametrize(("lo", "hi"), [(0, None), (2, None), (1, 2), (0, 0)])
def test_lists_without_repetition_have_their_language(separator: str, lo: int, hi: int | None) -> None:
    inner = [b"a", b"b", b"ab", b"a-b"]
    guide = unique(es.choices(inner), separator, at_least=lo, at_most=hi)
    most = 4 if hi is None else hi
    members = {separator.encode().join(some) for n in range(lo, most + 1) for some in itertools.permutations(inner, n)}
    check_language(guide, members.__contains__, alphabet=b"ab-", length=5, ahead=8)
    check_masks(guide, VOCAB, steps=2)


@pytest.mark.parametrize("sources", [("abab-ba",), ("a", "b-a"), ("aab", "abb", "ba"), ("ab ab", "b a")], ids=str)
@pytest.mark.parametrize("words", [False, True])
def test_spans_have_their_language(sources: tuple[str, ...], words: bool) -> None:
    guide = substring(*sources, whole_words=words)
    spans = set()
    for text in sources:
        for i, j in itertools.combinations(range(len(text) + 1), 2):
            inside = [k == 0 or k == len(text) or text[k - 1].isalnum() != text[k].isalnum() for k in (i, j)]
            if not words or (all(inside) and text[i].isalnum() and text[j - 1].isalnum()):
                spans.add(text[i:j].encode())
    if spans:
        check_language(guide, spans.__contains__, alphabet=b"ab- ", length=5, ahead=7)
        check_masks(guide, VOCAB, steps=2)
    assert pickle.loads(pickle.dumps(guide)) == guide


def test_spans_do_not_cut_characters() -> None:
    guide = substring("né à")
    members = {"né à"[i:j].encode() for i, j in itertools.combinations(range(5), 2)}
    for text in texts("né à".encode(), 3):
        assert guide.matches(text) == (text in members), text
        alive = any(member.startswith(text) for member in members)
        assert (guide.advance(guide.start(), text) is not None) == alive


def test_a_long_text_is_one_automaton() -> None:
    rng = random.Random(0)
    text = "".join(rng.choices("abcd ", k=20_000))
    guide = substring(text)
    for _ in range(100):
        at = rng.randrange(19_000)
        assert guide.matches(text[at : at + rng.randrange(1, 900)].encode())
    assert guide.advance(guide.start(), b"abcdx") is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: permutation([]), "there is nothing to choose from"),
        (lambda: permutation("abc"), "give a list of texts"),
        (lambda: permutation(["a", ""]), "'' is no item"),
        (lambda: subset(["a", "a"]), "'a' is listed twice"),
        (lambda: ordered(["a"], at_least=2), "cannot be; write 0 <="),
        (lambda: subset(["a", "b"], at_least=2, at_most=1), "cannot be"),
        (lambda: unique("a"), "give the guide of one item"),  # type: ignore[arg-type]
        (lambda: unique(es.regex("a"), ""), "the separator is empty"),
        (lambda: substring(), "give the text"),
        (lambda: substring(""), "'' is no text with a span"),
    ],
)
def test_wrong_use_is_told(call, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()
