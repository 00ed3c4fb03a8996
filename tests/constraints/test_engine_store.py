"""The native engine among threads and over time: nobody waits for another's guide, a fork goes on, memory is bounded."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import espalier as es
from espalier.constraints import Limits, engine_memory, fill_batch
from espalier.errors import EspalierError, InvalidInput, LimitExceeded, Unsatisfiable
from espalier.text.vocab import Vocab

PIECES = [*(bytes([b]) for b in range(256)), b"ab", b'{"', b'": ', b"true", b"false", b"tr", b"ue", b"123", None]
VOCAB = Vocab(PIECES, end=[len(PIECES) - 1])
HARD = "&".join(f"(([ab]{{{p}}})*[ab]{{{p // 2}}})" for p in (3, 5, 7, 11, 13, 17, 19, 23, 29)) + "&(b.*)"
WORDS = (VOCAB.size + 31) // 32


def compile_hard(milliseconds: float) -> None:
    with pytest.raises(LimitExceeded):
        es.regex(HARD, limits=Limits(compile_ms=milliseconds))


def beside(job: Callable[[], Any], work: Callable[[], Any]) -> list[float]:
    """The seconds that each call of `work` took while `job` ran in another thread."""
    thread = threading.Thread(target=job)
    thread.start()
    taken = []
    while thread.is_alive():
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
        time.sleep(0.001)
    thread.join()
    return taken


def test_no_guide_waits_for_another_that_is_compiled() -> None:
    masks = es.masks(es.json_schema({"type": "object"}), VOCAB)
    state, brace = masks.state(), VOCAB.ids[b"{"]
    taken = beside(lambda: compile_hard(1500), lambda: masks.advance(state, brace))
    assert len(taken) > 20
    assert float(np.median(taken)) < 0.1  # a slice of the other, and what the machine adds; 1.5 s without slices
    combined = beside(lambda: compile_hard(1000), lambda: es.regex("ab") | es.regex("c"))
    assert float(np.median(combined)) < 0.1


def test_python_goes_on_while_a_guide_is_compiled() -> None:
    gaps = beside(lambda: compile_hard(1500), lambda: time.sleep(0.005))
    assert float(np.median(gaps)) < 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_of_a_fork_can_use_the_engine() -> None:
    masks = es.masks(es.json_schema({"type": "object"}), VOCAB)
    state, brace = masks.state(), VOCAB.ids[b"{"]
    thread = threading.Thread(target=compile_hard, args=(1500,))
    thread.start()
    time.sleep(0.2)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        good = masks.advance(state, brace) is not None and es.regex("[a-c]{3}").matches(b"abc")
        os._exit(7 if good else 8)
    _, status = os.waitpid(child, 0)
    thread.join()
    assert os.WEXITSTATUS(status) == 7


def walk(guide: es.constraints.Guide, seed: int, steps: int = 30) -> list[bytes]:
    cursor = es.masks(guide, VOCAB).start(words := np.zeros(WORDS, dtype=np.int32))
    rng, seen = random.Random(seed), []
    for _ in range(steps):
        cursor.fill()
        seen.append(words.tobytes())
        allowed = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")[: VOCAB.size])
        if len(allowed) == 0:
            break
        token = int(allowed[rng.randrange(len(allowed))])
        if token in VOCAB.end or not cursor.commit(token):
            break
    return seen


def patterns(count: int) -> list[str]:
    rng = random.Random(5)

    def piece() -> str:
        least = rng.randrange(4)
        return rng.choice(
            [
                f"[a-{chr(98 + rng.randrange(20))}]{{{least},{least + rng.randrange(1, 40)}}}",
                "(ab|c|de)*",
                r"\d+",
                f".{{0,{rng.randrange(1, 50)}}}",
                "x",
                "ab",
            ]
        )

    return ["".join(piece() for _ in range(rng.randrange(1, 6))) for _ in range(count)]


def test_what_is_forgotten_changes_no_mask() -> None:
    made = patterns(60)
    schemas = [{"type": "object", "properties": {f"k{i}": {"type": "string", "maxLength": i}}} for i in range(20)]
    guides = [*(lambda p=p: es.regex(p) for p in made), *(lambda s=s: es.json_schema(s) for s in schemas)]
    before = [walk(make(), seed) for seed, make in enumerate(guides)]
    kept = [make() for make in guides]
    try:
        engine_memory(memory_mb=1)
        assert [walk(make(), seed) for seed, make in enumerate(guides)] == before
        assert [walk(guide, seed) for seed, guide in enumerate(kept)] == before
        both = [walk(kept[i] + kept[i + 1], i) for i in range(0, len(kept) - 1, 7)]
        assert engine_memory().generations < 12
    finally:
        engine_memory(memory_mb=256)
    assert [walk(kept[i] + kept[i + 1], i) for i in range(0, len(kept) - 1, 7)] == both


def test_a_state_goes_on_in_the_generation_it_began_in() -> None:
    guide = es.json_schema({"type": "array", "items": {"type": "integer"}, "uniqueItems": True})
    state = guide.advance(guide.start(), b"[1, 2")
    try:
        engine_memory(memory_mb=1)
        for pattern in patterns(40):
            walk(es.regex(pattern), 1)
        assert guide.matches(b"[1, 2]")  # a new text, in a new generation
        after = guide.advance(state, b"]")
        assert after is not None
        assert guide.accepts(after)
        assert guide.advance(guide.start(), b"[1, 2") is not None
    finally:
        engine_memory(memory_mb=256)


def test_limits_hold_for_the_whole_life_of_a_text() -> None:
    guide = es.json_schema({"type": "array", "uniqueItems": True}, limits=Limits(memory_mb=3))

    def write() -> None:
        state: Any = guide.advance(guide.start(), b"[0")
        for number in range(1, 5_000):  # each call costs little
            state = guide.advance(state, b",%d" % number)

    with pytest.raises(LimitExceeded, match="memory_mb"):
        write()
    assert guide.matches(b"[1,2,3]")  # the next text begins anew


def test_a_hard_pattern_is_bounded_over_its_life() -> None:
    """400 tokens of what took 10 MB a token; then until the bound of the guide is met, and no further."""
    pattern = "(.*a.{25})&(.*b.{26})&(.*c.{27})"
    before = engine_memory().megabytes
    walk(guide := es.regex(pattern), 3, steps=400)
    assert engine_memory().megabytes - before < 60
    rng, guide = random.Random(1), es.regex(pattern, limits=Limits(memory_mb=8))
    before = engine_memory().megabytes

    def write() -> None:
        state = guide.start()
        for _ in range(200_000):
            state = guide.advance(state, bytes([rng.choice(b"abc")])) or guide.start()

    with pytest.raises(LimitExceeded, match="memory_mb"):
        write()
    assert engine_memory().megabytes - before < 24


def test_rows_of_many_guides_are_those_of_fill() -> None:
    guides = [es.regex("ab*"), es.json_schema({"type": "object"}), es.regex("[a-z]{3}") & es.json_schema({"type": "string"})]
    rows: list[tuple[Any, Any]] = []
    for guide in guides:
        masks = es.masks(guide, VOCAB)
        rows += [(masks, masks.state())] * 30
    masks = rows[0][0]
    ended = masks.advance(masks.advance(masks.state(), VOCAB.ids[b"a"]), min(VOCAB.end))
    rows += [(masks, masks.advance(masks.state(), VOCAB.ids[b"a"])), (masks, ended)]
    expected = np.zeros((len(rows), WORDS), dtype=np.int32)
    for at, (each, state) in enumerate(rows):
        each.fill(state, expected[at])
    for threads in (0, 1, 4):
        out = np.full((len(rows), WORDS), -1, dtype=np.int32)
        fill_batch(rows, out, threads)
        assert (out == expected).all()
        own = np.full((2, WORDS), -1, dtype=np.int32)
        masks.fill_batch([state for _, state in rows[-2:]], own, threads=threads)
        assert (own == expected[-2:]).all()


def test_threads_fill_the_same_masks_at_once() -> None:
    masks = es.masks(es.json_schema({"type": "object", "properties": {"a": {"type": "number"}}}), VOCAB)
    states: list[Any] = [masks.state()]
    for byte in b'{"a": 12':
        states.append(masks.advance(states[-1], byte))
    expected = np.zeros((len(states), WORDS), dtype=np.int32)
    es.masks(es.json_schema({"type": "object", "properties": {"a": {"type": "number"}}}), VOCAB)
    masks.fill_batch(states, expected, 1)
    fresh = es.masks(es.json_schema({"type": "object", "properties": {"a": {"type": "number"}}}), VOCAB)
    own: list[Any] = [fresh.state()]
    for byte in b'{"a": 12':
        own.append(fresh.advance(own[-1], byte))
    wrong: list[int] = []

    def run() -> None:
        out = np.zeros_like(expected)
        for _ in range(50):
            fresh.fill_batch(own, out, 1)
            wrong.append(int((out != expected).sum()))

    crew = [threading.Thread(target=run) for _ in range(8)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert len(wrong) == 400
    assert not any(wrong)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.fill_batch([m.state()], np.zeros((2, WORDS), np.int32)), "matrix of 1 rows"),
        (lambda m: m.fill_batch([m.state()], np.zeros((1, 1), np.int32)), "this vocabulary needs"),
        (lambda m: m.fill_batch([m.state()], np.zeros((1, WORDS), np.int64)), "int32"),
        (lambda m: m.fill_batch([7], np.zeros((1, WORDS), np.int32)), "none of regex a's"),
        (lambda m: m.fill_batch([m.state()], np.zeros((1, WORDS), np.int32), threads=-1), "from 0"),
        (lambda m: fill_batch([m.state()], np.zeros((1, WORDS), np.int32)), "a pair"),
        (lambda m: engine_memory(memory_mb=0), "from 1 on"),
    ],
)
def test_mistakes_in_batches_are_told(call: Callable[[Any], Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call(es.masks(es.regex("a"), VOCAB))


@pytest.mark.parametrize(
    "pattern", ["(?=a" * 16 + ")" * 16, "(?!a" * 14 + ")" * 14, r"(?m)(?:^|$|\n|a){12}", r"(?:\b|\B|a){20}"]
)
def test_look_around_is_bounded(pattern: str) -> None:
    begun = time.process_time()
    with contextlib.suppress(LimitExceeded, Unsatisfiable):
        es.regex(pattern, limits=Limits(compile_ms=300)).matches(b"a")
    assert time.process_time() - begun < 3


@pytest.mark.parametrize("text", ["~" * 490 + "a", "(" * 490 + "a" + ")" * 490, "(?=" * 300 + "a" + ")" * 300])
def test_a_small_stack_is_an_error_and_no_crash(text: str) -> None:
    said: list[Any] = []

    def run() -> None:
        try:
            said.append(es.regex(text).matches(b"a"))
        except EspalierError as error:
            said.append(error)

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert isinstance(said[0], (bool, InvalidInput))


def test_many_objects_in_an_enumeration() -> None:
    guide = es.json_schema({"enum": [{"a": i, "b": [i, i + 1]} for i in range(3_000)]})
    begun = time.process_time()
    state = guide.advance(guide.start(), b'{"b" :\n                                 [\n      1, 2], "a": ')
    assert time.process_time() - begun < 5
    assert guide.advance(state, b"1") is not None
    assert guide.advance(state, b"7") is None
