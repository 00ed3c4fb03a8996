"""Python tests of the text so far: languages, laziness, memory, time, decoders, and what is told."""

from __future__ import annotations

import pickle
import time

import pytest
import torch
from constraints.languages import check_language, texts

import espalier as es
from espalier.constraints import predicate
from espalier.errors import InvalidInput, LimitExceeded
from espalier.testing import assert_same_law, exact_law
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b"ab", None], end=[3])


def no_bb(text: str) -> bool:
    return "bb" not in text


def even(text: str) -> bool:
    return len(text) % 2 == 0


def model() -> es.Model:
    made = es.models.Table.random(VOCAB.size, depth=1, seed=2)
    made.vocab = VOCAB
    return made


@pytest.mark.parametrize(("prefix", "final"), [(no_bb, None), (None, even), (no_bb, even)])
def test_predicates_have_their_language(prefix, final) -> None:
    guide = predicate(prefix, final)

    def member(text: bytes) -> bool:
        return all(test is None or test(text.decode()) for test in (prefix, final))

    check_language(guide, member, length=5, ahead=6)
    combined = guide & es.regex("a[ab]*") | es.choices(["b"])
    for text in texts(b"ab", 5):
        assert combined.matches(text) == (text == b"b" or (member(text) and text.startswith(b"a")))
    again = pickle.loads(pickle.dumps(guide))
    assert again.matches(b"ab") == guide.matches(b"ab")
    assert "predicate(" in repr(again)


def test_only_tokens_that_would_be_chosen_are_tested() -> None:
    asked: list[str] = []

    def test(text: str) -> bool:
        asked.append(text)
        return not text.endswith("q")

    letters = Vocab([bytes([b]) for b in range(97, 123)] + [None], end=[26])
    likes_q = es.models.Table(27, 0, lambda _: torch.arange(27.0).mul(-0.1) + 50 * (torch.arange(27) == 16))
    likes_q.vocab = letters
    scorer = likes_q * (es.regex("[a-z]*") & predicate(test)) | es.temperature(0)
    [x] = es.run(es.sample(scorer, es.Prefix([0]), es.stop.budget(3), es.Rng(0)))
    assert letters.join(x.written()) == b"aaa"
    assert len(asked) == 6, "the most probable token, which is refused, and the next, at each step"
    asked.clear()
    es.run(es.sample(scorer, es.Prefix([0]), es.stop.budget(3), es.Rng(0)))
    assert asked == [], "answers are remembered"


def test_decoders_keep_the_law_of_the_same_guide_with_masks() -> None:
    class Masked(predicate):
        lazy = False

    stop, x = es.stop.end([3]) | es.stop.budget(3), es.Prefix([0])

    def law(scorer, drafter=None):
        def decoder(rng):
            if drafter is None:
                return es.sample(scorer, x, stop, rng)
            return es.speculate(scorer, x, stop, drafter, es.verification.SampleMatch(), rng)

        return exact_law(decoder, lambda y: tuple(y.written()))

    plain = law(model() * predicate(no_bb))
    assert_same_law(plain, law(model() * Masked(no_bb)))
    assert_same_law(plain, law(model() * predicate(no_bb), es.drafting.PromptLookup(tokens=2)))
    beams = [es.run(es.beam(model() * kind(no_bb, even), x, stop, width=8, alpha=0.0))[0] for kind in (predicate, Masked)]
    assert [h.prefix.written() for h in beams[0]] == [h.prefix.written() for h in beams[1]]


def test_characters_are_tested_when_they_are_whole() -> None:
    seen: list[str] = []
    guide = predicate(lambda text: seen.append(text) or True)
    state = guide.advance(guide.start(), "é".encode()[:1])
    assert state is not None
    assert not guide.accepts(state)
    assert guide.advance(state, "é".encode()[1:]) is not None
    assert seen == ["", "é"]
    assert guide.advance(state, b"a") is None, "no text goes on like this"


def slow(text: str) -> bool:
    time.sleep(0.5 if "b" in text else 0)
    return True


def test_a_test_that_takes_too_long_is_announced() -> None:
    with pytest.raises(LimitExceeded, match=r"the prefix test took more than 0.05 s on 'ab'; give it more, or say late="):
        predicate(slow, time_limit=0.05).matches(b"ab")
    assert not predicate(slow, time_limit=0.05, late="refuse").matches(b"ab")
    assert predicate(slow, time_limit=0.05, late="allow").matches(b"ab")
    assert predicate(slow, time_limit=0.05).matches(b"aa")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: predicate(), "give a test"),
        (lambda: predicate("abc"), "a test is a function"),  # type: ignore[arg-type]
        (lambda: predicate(len, time_limit=0), "a number of seconds above 0"),
        (lambda: predicate(len, late="maybe"), "write 'raise'"),  # type: ignore[arg-type]
        (lambda: predicate(lambda text: text[9]).matches(b"ab"), r"raised IndexError on 'ab': .*a test returns True or False"),
    ],
)
def test_wrong_use_is_told(call, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()


def test_what_another_part_refuses_is_not_tested() -> None:
    """A part with a mask narrows the row down before the dear test is asked; the law stays."""
    asked: list[str] = []

    def test(text: str) -> bool:
        asked.append(text)
        return not text.endswith("b")

    letters = Vocab([bytes([b]) for b in range(97, 123)] + [None], end=[26])
    flat = es.models.Table(27, 0, lambda _: torch.arange(27.0).flip(0))
    flat.vocab = letters
    for combined in (es.regex("[bz]*") & predicate(test), predicate(test) & es.regex("[bz]*"), es.regex("b") | predicate(test)):
        law = combined.over(letters)
        hint = law.hint(law.start()).tolist()
        allowed = [law.allowed(law.start(), t) for t in range(27)]
        assert law.mask(law.start()) is None
        assert all(known for known, on in zip(hint, allowed, strict=True) if on)
    asked.clear()
    scorer = flat * (es.regex("[bz]*z") & predicate(test))
    texts_ = [es.run(es.sample(scorer, es.Prefix([0]), es.stop.budget(1), es.Rng(seed)))[0].written() for seed in range(5)]
    assert texts_ == [[25]] * 5
    assert set(asked) <= {"b", "z"}
    [found] = es.run(es.beam(scorer, es.Prefix([0]), es.stop.end([26]) | es.stop.budget(3), width=2))
    assert all(set(letters.join(h.prefix.written())) <= {ord("z")} for h in found)
