"""Guides written in Python: under every decoder, printed, pickled, sent away, and what is told of wrong answers."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import pickle
import random

import pytest
from constraints.python_guides import Balanced, Modulo, balanced

import espalier as es
from espalier.errors import InvalidInput
from espalier.testing import assert_same_law, exact_law
from espalier.text.vocab import Vocab

GUIDES = [
    Balanced(),
    Balanced() | es.regex("b{2}"),
    Balanced() + es.regex("b|bb"),
    (Balanced() & Modulo(4)).repeat(1, 2),
    es.regex("a").repeat(2, 3) + (es.choices(["b", "ba"]) | Modulo(3)),
]


def model_over(vocab: Vocab, seed: int = 5) -> es.Model:
    model = es.models.Table.random(vocab.size, depth=1, seed=seed)
    model.vocab = vocab
    return model


@pytest.mark.parametrize("guide", GUIDES, ids=repr)
def test_decoders_keep_the_law_under_python_guides(guide: es.Guide) -> None:
    """Sampling has the law of the mask, speculation that of sampling, and a wide beam finds the most probable text."""
    vocab = Vocab([b"a", b"b", b"ab", None], end=[3])
    scorer, stop, x = model_over(vocab) * guide, es.stop.end([3]) | es.stop.budget(4), es.Prefix([0])

    def plain(rng):
        return es.sample(scorer, x, stop, rng)

    law = exact_law(plain, lambda y: tuple(y.written()))
    expected = {}
    constraint = guide.over(vocab)

    def spread(tokens, state, p):
        if tokens[-1:] == (3,) or len(tokens) == 4:
            expected[tokens] = expected.get(tokens, 0) + p
            return
        row = model_over(vocab).row((0, *tokens)[-1:]).softmax(-1)
        mask = [constraint.allowed(state, t) for t in range(4)]
        total = sum(float(row[t]) for t in range(4) if mask[t])
        for t in range(4):
            if mask[t]:
                spread((*tokens, t), constraint.advance(state, t), p * float(row[t]) / total)

    if guide.exactness == "exact":
        spread((), constraint.start(), 1.0)
        assert_same_law(law, expected)
    for verifier in (es.verification.SampleMatch(),):
        drafter = es.drafting.PromptLookup(tokens=2)
        drafted = exact_law(
            lambda rng, v=verifier, d=drafter: es.speculate(scorer, x, stop, d, v, rng), lambda y: tuple(y.written())
        )
        assert_same_law(drafted, law)
    forced = es.drafting.Forced(guide, vocab)
    [y] = es.run(es.speculate(scorer, x, stop, forced, es.verification.SampleMatch(), es.Rng(1)))
    [z] = es.run(es.sample(scorer, x, stop, es.Rng(1)))
    assert y.written() == z.written()
    [found] = es.run(es.beam(scorer, x, stop, width=64, alpha=0.0))
    assert {tuple(h.prefix.written()) for h in found} <= set(law)
    assert tuple(found[0].prefix.written()) in law


def test_walks_never_end_unannounced() -> None:
    """Exact guides never run out of tokens before the text may end; guides that say "over" may."""
    rng = random.Random(0)
    letters = Vocab([b"a", b"b", None], end=[2])
    for guide in GUIDES:
        for _ in range(30):
            law = guide.over(letters)
            state = law.start()
            for _ in range(12):
                open_ways = [t for t, on in enumerate(law.mask(state).tolist()) if on]
                if not open_ways:
                    assert guide.exactness == "over", f"{guide!r} is stuck"
                    break
                token = rng.choice(open_ways)
                if token == 2:
                    break
                state = law.advance(state, token)


TERMS = [
    *GUIDES,
    es.regex("[a-z]+", search=True),
    es.choices(["red", "green"]),
    es.json_schema({"type": "integer", "minimum": 3}),
    es.json_schema({"type": "integer"}) & es.json_schema({"minimum": 3}),
    es.cfg('s ::= "<" n ">"', n=es.regex("a{2}")),
    es.constraints.tags([es.constraints.Tag("<n>", es.regex("[0-9]+"), "</n>")]),
    es.constraints.contains("tea", "eat"),
    es.constraints.avoids("http"),
    es.constraints.grammars.sql(),
    ~es.regex("a*") & es.regex("a|b", limits=es.Limits(states=5000)),
    es.constraints.heal([0, 0], Vocab([b"a", b"ab", None], end=[2])).guide,
]


@pytest.mark.parametrize("guide", TERMS, ids=lambda guide: repr(guide)[:40])
def test_guides_print_pickle_and_copy(guide: es.Guide) -> None:
    again = pickle.loads(pickle.dumps(guide))
    assert repr(again) == repr(guide)
    samples = [
        b"",
        b"a",
        b"ab",
        b"aabb",
        b"b",
        b"red",
        b"5",
        b"2",
        b"<aa>",
        b"<n>1</n>",
        b"teat eat",
        b"http",
        b"SELECT a FROM t",
    ]
    assert [again.matches(text) for text in samples] == [guide.matches(text) for text in samples]
    assert again.exactness == guide.exactness
    assert copy.deepcopy(guide) is guide, "what never changes is its own copy"
    if not any(isinstance(part, (Balanced, Modulo)) for part in parts(guide)):
        assert again == guide
        assert hash(again) == hash(guide)
    assert guide != es.regex("something else")


def parts(guide):
    below = [getattr(guide, name) for name in ("a", "b") if hasattr(guide, name)]
    return [guide, *(part for inner in below for part in parts(inner))]


def test_the_text_of_a_guide_is_the_term() -> None:
    a, b, c = es.regex("a"), Balanced(), Modulo(2)
    assert repr((a | b) & c) == "(regex('a') | Balanced()) & Modulo(n=2)"
    assert repr(a | b & c) == "regex('a') | Balanced() & Modulo(n=2)"
    assert repr(a + (b + c)) == "regex('a') + (Balanced() + Modulo(n=2))"
    assert repr((a + b).repeat(1, 3)) == "(regex('a') + Balanced()).repeat(1, 3)"
    assert repr(~a & es.choices(["x"], limits=es.Limits(states=9))).startswith("~regex('a') & choices(['x'], limits=Limits(")
    assert eval(repr((a | b) & c + ~a), {"regex": es.regex, "Balanced": Balanced, "Modulo": lambda n: Modulo(n)})


def _work(guide: es.Guide, text: bytes) -> tuple[str, bool]:
    return repr(guide), guide.matches(text)


def test_guides_go_to_a_spawned_process() -> None:
    guide = (Balanced() | es.regex("x+")) + es.json_schema({"const": 1})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_work, (guide, b"aabb1")) == (repr(guide), True)


class Wrong(Balanced):
    def __init__(self, **answers):
        self._answers = answers

    def _answer(self, name, value):
        answer = self._answers.get(name, value)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def start(self):
        return self._answer("start", 0)

    def advance(self, state, data):
        return self._answer("advance", super().advance(state, data))

    def accepts(self, state):
        return self._answer("accepts", super().accepts(state))

    def forced(self, state):
        return self._answer("forced", b"")


async def _later():
    return 0


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (
            {"advance": ZeroDivisionError("oh")},
            r"Wrong\(\).advance\(0, b'a'\) raised ZeroDivisionError: oh; a guide's adv",
        ),
        ({"advance": [1]}, r"returned \[1\], which cannot be hashed; a state is an immutable value"),
        ({"advance": False}, r"advance\(0, b'a'\) returned False; write None to refuse"),
        ({"advance": NotImplemented}, "which is no state"),
        ({"start": None}, r"start\(\) returned None, which means refused; raise Unsatisfiable"),
        ({"start": {}}, r"start\(\) returned {}, which cannot be hashed"),
        ({"accepts": 1}, r"accepts\(1\) returned 1; returns True if"),
        ({"accepts": KeyError("x")}, r"accepts\(1\) raised KeyError: 'x'"),
        ({"forced": "a"}, r"forced\(0\) returned 'a'; it returns the bytes"),
        ({"forced": b"b"}, r"forced\(0\) returned b'b'; it returns the bytes with which every continuation begins"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
@pytest.mark.parametrize("inside", [False, True])
def test_answers_that_make_no_sense_are_told(answers: dict[str, object], says: str, inside: bool) -> None:
    guide = Wrong(**answers)
    vocab = Vocab([b"a", b"b", None], end=[2])
    model = model_over(vocab)

    def use(guide):
        scorer = model * (guide | es.regex("b")) if inside else model * guide
        drafter = es.drafting.Forced(guide, vocab)
        es.run(es.speculate(scorer, es.Prefix([0]), es.stop.budget(3), drafter, es.verification.SampleMatch(), es.Rng(0)))
        guide.matches(b"a")

    with pytest.raises(InvalidInput, match=says):
        use(guide)


def test_a_wrong_guide_leaves_other_decoders_unharmed() -> None:
    vocab = Vocab([b"a", b"b", None], end=[2])
    model, stop = model_over(vocab), es.stop.budget(4)
    loop = es.Loop()
    bad = loop.add(es.sample(model * Wrong(advance=ValueError("no")), es.Prefix([0]), stop, es.Rng(0)))
    good = loop.add(es.sample(model * Balanced(), es.Prefix([0]), stop, es.Rng(0)))
    while loop:
        loop.turn()
    assert isinstance(loop.errors[bad], InvalidInput)
    assert balanced(vocab.join(loop.results[good].written())) or len(loop.results[good].written()) == 4


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Balanced() & "a", r"Balanced\(\) & 'a': both sides are guides; write es.choices\(\['a'\]\)"),
        (lambda: es.regex("a") | None, "both sides are guides; write es.regex"),
        (lambda: Balanced() + 3, "both sides are guides"),
        (lambda: Balanced().repeat(3, 1), "the bounds must satisfy"),
        (lambda: es.cfg('s ::= "<" n ">"', n=Balanced()), "is written in Python, in whole or in part"),
    ],
)
def test_wrong_combinations_are_told(call, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()


def test_a_constraint_on_tokens_stands_beside_a_guide() -> None:
    class NotTwice(es.TokenConstraint):
        def start(self):
            return -1

        def advance(self, state, token):
            return None if token == state else token

    vocab = Vocab([b"a", b"b", b"ab", None], end=[3])
    both = (Balanced() & NotTwice()).over(vocab)
    other = (NotTwice() & Balanced()).over(vocab)
    for tokens in itertools.product(range(4), repeat=3):
        a, b = both.start(), other.start()
        for token in tokens:
            assert both.allowed(a, token) == other.allowed(b, token)
            if not both.allowed(a, token):
                break
            a, b = both.advance(a, token), other.advance(b, token)
        else:
            written = vocab.join(tokens)
            assert all(x != y for x, y in itertools.pairwise(tokens))
            assert Balanced().advance(0, written) is not None
    [x] = es.run(es.sample(model_over(vocab) * (Balanced() & NotTwice()), es.Prefix([0]), es.stop.budget(5), es.Rng(0)))
    assert all(x != y for x, y in itertools.pairwise(x.written()))
