"""Monitors: the names after a trigger are the callback's; the one for Python on a small project; what is told."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest
from constraints.languages import check_language

import espalier as es
from espalier.constraints import monitor, python_members
from espalier.errors import InvalidInput, LimitExceeded
from espalier.text.vocab import Vocab


def after_a(text: str) -> list[str]:
    return ["b", "ba"] if text.endswith("a.") else []


def test_monitors_have_their_language() -> None:
    guide = monitor(".", after_a)

    def member(text: bytes) -> bool:
        for at in range(len(text)):
            if text[: at + 1].endswith(b"a."):
                name = text[at + 1 :].split(b".")[0].split(b" ")[0]
                if name not in (b"b", b"ba"):
                    return False
        return True

    check_language(guide, member, alphabet=b"ab. ", length=5, ahead=7)
    again = pickle.loads(pickle.dumps(guide))
    assert [again.matches(text) for text in (b"a.b", b"a.c")] == [True, False]


def test_masks_step_by_step_with_a_token_that_ends_the_name() -> None:
    vocab = Vocab([b"f", b"foo", b"fo", b"b(", b"foo(", b"(", b"fob ", b"x", b"o", None], end=[9])
    guide = monitor(".", lambda text: {"foo", "fob"}, before="obj.")
    law = guide.over(vocab)

    def allowed(state):
        return {t for t in range(10) if law.allowed(state, t)}

    state = law.start()
    assert law.mask(state) is None, "it is asked about single tokens"
    assert allowed(state) == {0, 1, 2, 4, 6}
    assert allowed(law.advance(state, 2)) == {3, 8}
    assert allowed(law.advance(state, 1)) == {5, 9}
    assert 7 in allowed(law.advance(state, 4)), "the name has ended"


def test_a_character_that_no_name_goes_on_with_is_not_begun() -> None:
    guide = monitor(".", lambda text: ["né", "on"])
    start = guide.advance(guide.start(), b"a.")
    assert guide.advance(start, "é".encode()[:1]) is None
    begun = guide.advance(guide.advance(start, b"n"), "é".encode()[:1])
    assert guide.advance(begun, "é".encode()[1:]) is not None
    assert guide.advance(guide.advance(start, b"on"), "→".encode()[:1]) is not None, "the name has ended"


def test_two_monitors_are_joined_by_and() -> None:
    both = monitor(".", lambda text: ["x", "y"]) & monitor(".", lambda text: ["y", "z"])
    assert [both.matches(text) for text in (b"a.x", b"a.y", b"a.z")] == [False, True, False]


def slow(text: str) -> list[str]:
    time.sleep(0.4)
    return ["x"]


def test_a_callback_that_takes_too_long_is_idle_or_told() -> None:
    late = monitor(".", slow, time_limit=0.05)
    with pytest.warns(UserWarning, match=r"names after 'a\.' took more than 0\.05 s, so anything may follow"):
        assert late.matches(b"a.whatever")
    assert not monitor(".", slow).matches(b"a.whatever")
    with pytest.raises(LimitExceeded, match=r"took more than 0\.05 s"):
        monitor(".", slow, time_limit=0.05, late="raise").matches(b"a.x")


PROJECT = {
    "shapes.py": "class Circle:\n    def __init__(self, radius):\n        self.radius = radius\n\n"
    "    def circumference(self):\n        return 6.28 * self.radius\n",
    "store.py": "from shapes import Circle\n\n\ndef unit() -> Circle:\n    return Circle(1)\n",
}
BEFORE = "import store\nshape = store.unit()\nsize = shape."


def test_members_of_a_small_project_are_the_only_ones(tmp_path: Path) -> None:
    """Names after the dot, and code that runs: with the monitor all, without it those that the model happens to know."""
    pytest.importorskip("jedi")
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    members = ["radius\n", "circumference()\n", "diameter\n", "area()\n", "radii\n", "circumfence()\n"]
    vocab = Vocab([*(member.encode() for member in members), b"\n", None], end=[7])
    model = es.models.Table.random(vocab.size, depth=1, seed=3)
    model.vocab = vocab
    guide = python_members(tmp_path, before=BEFORE, time_limit=None)
    stop = es.stop.end([7]) | es.stop.budget(1)

    def written(scorer) -> list[str]:
        decoders = [es.sample(scorer, es.Prefix([6]), stop, es.Rng(seed)) for seed in range(30)]
        return [vocab.join(x.written()).decode() for x in es.run(*decoders)]

    def runs(text: str) -> bool:
        import sys

        sys.path.insert(0, str(tmp_path))
        try:
            exec(compile(BEFORE + text, "written", "exec"), {})
        except (AttributeError, SyntaxError):
            return False
        finally:
            sys.path.remove(str(tmp_path))
        return True

    free, monitored = written(model), written(model * guide)
    assert all(runs(text) for text in monitored)
    assert sum(map(runs, free)) < 25, "else the comparison says nothing"
    assert {text.split("(")[0].strip() for text in monitored} <= {"radius", "circumference"}
    again = pickle.loads(pickle.dumps(guide))
    assert again.matches(b"radius + 1")
    assert not again.matches(b"diameter")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: monitor("", after_a), "the trigger is a text, or a test"),
        (lambda: monitor(".", None), "is no function from the text so far"),  # type: ignore[arg-type]
        (lambda: monitor(".", after_a, time_limit=-1), "a number of seconds above 0"),
        (lambda: monitor(".", after_a, late="never"), "write 'idle' or 'raise'"),  # type: ignore[arg-type]
        (lambda: monitor(".", lambda text: [3]).matches(b"a.b"), "the callback gave 3 after 'a.'"),  # type: ignore[list-item]
        (lambda: monitor(".", lambda text: 1 / 0).matches(b"a.b"), "the callback raised ZeroDivisionError after 'a.'"),
        (lambda: monitor(".", lambda text: None).matches(b"a.b"), "raised|no iterable|gave"),  # type: ignore[arg-type, return-value]
    ],
)
def test_wrong_use_is_told(call, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()
