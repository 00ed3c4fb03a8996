"""The engine: exact under load, cancelled means free, refusals, drain, faults of one request."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from typing import Any

import pytest
from served import tiny

import espalier as es
from espalier import serving
from espalier.errors import ContextOverflow, InvalidInput, LimitExceeded
from espalier.models.executors import native
from espalier.serving import Done, Engine, Limits, NotReady, Overloaded, Text
from espalier.serving.waiters import Waiter

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")

REQUESTS = int(os.environ.get("ESPALIER_LOAD", "60"))  # 500 for the long form
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}}, "required": ["a"]}


def some_request(dice: random.Random) -> tuple[Any, dict[str, Any]]:
    """A prompt and options, all at random."""
    text = "".join(dice.choice("abc de\n") for _ in range(dice.randrange(1, 150)))
    options: dict[str, Any] = {"max_tokens": dice.randrange(1, 24), "seed": dice.randrange(1000)}
    options["temperature"] = dice.choice([0.0, 0.7, 1.0, 1.5])
    if dice.random() < 0.3:
        options["logprobs"] = dice.randrange(4)
    match dice.randrange(8):
        case 0:
            options["schema"] = SCHEMA
        case 1:
            options["regex"] = "[a-f]{2,9}(x|yz)+"
        case 2:
            options["stop"] = ["e", "ab"]
        case 3:
            options["n"] = dice.randrange(2, 4)
        case 4:
            options |= {"decoder": f"beam:{dice.randrange(2, 4)}", "temperature": None}
        case 5:
            options["constraint"] = es.constraints.tool_calls({"f": SCHEMA})
        case 6:
            options["shapers"] = ["top_k:5", "no_repeat:2", "dry:0.8"]
    if "decoder" not in options:
        options |= dice.choice([{}, {"drafter": None}, {"drafter": "lookup"}, {"drafter": "recycling"}])
    return (es.raw(text) if dice.random() < 0.7 else es.Prefix([ord(c) % 200 for c in text])), options


def results(group: es.Completion) -> list[tuple[Any, ...]]:
    """What must be the same."""
    found = []
    for one in group:
        best = [(getattr(p, "top", None), getattr(p, "drawn", None), getattr(p, "drawn_top", None)) for p in one.logprobs]
        found.append((one.text, one.tokens, one.logprobs, best, one.finish_reason, one.parsed, one.whole, one.log_weight))
    return found


def check_stream(events: list[Any]) -> None:
    """Pieces, tokens and log-probabilities joined are the completion's."""
    assert isinstance(events[-1], Done)
    assert not any(isinstance(event, Done) for event in events[:-1])
    for branch, one in enumerate(events[-1].completion):
        own = [event for event in events[:-1] if event.branch == branch]
        if branch and not own:
            continue  # a search finds them at the end
        assert "".join(event.text for event in own) == one.text
        assert [token for event in own for token in event.tokens] == one.tokens
        assert [p for event in own for p in event.logprobs] == one.logprobs


def differing(requests: list[tuple[Any, dict[str, Any]]], cancelled: set[int], limits: Limits) -> list[int]:
    """Which requests came out differently under load than alone."""
    wrong, alone = [], tiny(cache_mb=0)
    with Engine(tiny(), limits) as engine:
        handles = [engine.submit(prompt, **options) for prompt, options in requests]
        for at in cancelled:
            threading.Timer(0.002 * (at % 40), handles[at].cancel).start()
        for at, (handle, (prompt, options)) in enumerate(zip(handles, requests, strict=True)):
            try:
                events = list(handle)
            except es.EspalierError:
                assert at in cancelled
                continue
            check_stream(events)
            if results(events[-1].completion) != results(alone.complete(prompt, **options)):
                wrong.append(at)
        assert (engine.running, engine.waiting) == (0, 0)
    return wrong


def test_texts_under_load_are_the_texts_alone():
    dice = random.Random(5)
    requests = [some_request(dice) for _ in range(REQUESTS)]
    cancelled = set(dice.sample(range(REQUESTS), REQUESTS // 5))
    assert differing(requests, cancelled, Limits(running=16, prompt_rows=32, queued=REQUESTS)) == []


class Leaky(es.Shaper):
    """A planted bug: what it does depends on how often it was asked, by whomever."""

    stage = es.Stage.LOGITS

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, logits, prefixes):
        self.asked += len(prefixes)
        made = logits.clone()
        made[:, 60 + self.asked % 50] += 30
        return made


def test_a_planted_bug_is_found():
    leaky = Leaky()
    requests = [(es.raw("abc"), {"max_tokens": 12, "seed": seed, "shapers": [leaky], "drafter": None}) for seed in range(6)]
    assert differing(requests, set(), Limits(running=4))


def test_a_tiny_kv_budget_makes_requests_wait_and_changes_nothing():
    dice = random.Random(2)
    requests = [(es.raw("ab" * dice.randrange(1, 60)), {"max_tokens": 20, "seed": i, "temperature": 1.0}) for i in range(12)]
    per_token = tiny().model.kv.bytes_per_token
    limits = Limits(running=8, kv_mb=300 * per_token / (1 << 20), cache_mb=0.01)
    assert differing(requests, set(), limits) == []
    with Engine(tiny(), limits) as engine, pytest.raises(LimitExceeded, match="lower max_tokens"):
        engine.submit(es.raw("ab"), max_tokens=400)


def test_cancelled_means_free():
    lm = tiny(cache_mb=0)
    threads = threading.active_count()
    with Engine(lm, Limits(running=2, prompt_rows=16)) as engine:
        for round_ in range(15):
            handles = [engine.submit(es.raw("long " * 90), max_tokens=50, seed=i, temperature=1.0) for i in range(4)]
            time.sleep(0.001 * (round_ % 5))
            for handle in handles:
                handle.cancel()
        deadline = time.monotonic() + 20
        while engine.running and time.monotonic() < deadline:
            time.sleep(0.005)
        assert (engine.running, engine.waiting, len(engine._jobs)) == (0, 0, 0)
        del handles, handle
        assert lm.model.kv.used == 0
    assert threading.active_count() == threads


def test_wrong_requests_are_told_at_once_and_touch_nobody():
    with Engine(tiny(), Limits(running=2)) as engine:
        good = engine.submit(es.raw("abc"), max_tokens=30, ignore_eos=True)
        with pytest.raises(InvalidInput, match="max_tokens"):
            engine.submit("a", max_new_tokens=3)
        with pytest.raises(ContextOverflow):
            engine.submit(es.raw("a" * 600))
        assert len(good.result(timeout=30).tokens) == 30


def test_a_guide_that_explodes_fails_alone():
    with Engine(tiny(), Limits(guide_mb=1, mask_ms=0.001)) as engine:
        good = engine.submit(es.raw("abc"), max_tokens=5, ignore_eos=True)
        with pytest.raises(LimitExceeded):
            engine.submit(es.raw("a"), choices=[str(i) * 20 for i in range(30_000)])
        slow = engine.submit(es.raw("a"), regex="(.*a.{30}){3}", max_tokens=40, temperature=1.0, seed=0)
        with pytest.raises(LimitExceeded):
            slow.result(timeout=120)
        assert len(good.result(timeout=120).tokens) == 5


def test_a_pass_that_fails_fails_its_own_request_only(monkeypatch):
    lm = tiny()
    forward, bad = lm.model.forward, lm.prompt(es.raw("bad")).ids()

    def fragile(prefixes, want=frozenset()):
        if any(x.ids()[:3] == bad for x in prefixes):
            raise RuntimeError("a broken kernel")
        return forward(prefixes, want)

    monkeypatch.setattr(lm.model, "forward", fragile)
    with Engine(lm) as engine:
        good = [engine.submit(es.raw("abc"), max_tokens=20, seed=i, temperature=1.0) for i in range(3)]
        wrong = engine.submit(es.raw("bad"), max_tokens=20)
        with pytest.raises(RuntimeError, match="broken kernel"):
            wrong.result(timeout=30)
        alone = tiny(cache_mb=0)
        for i, handle in enumerate(good):
            assert handle.result(timeout=30).text == alone.complete(es.raw("abc"), max_tokens=20, seed=i, temperature=1.0).text


class Now:
    """An asyncio loop that calls at once."""

    def call_soon_threadsafe(self, call, *given):
        call(*given)


def test_higher_priority_goes_first_and_a_full_queue_refuses():
    with Engine(tiny(), Limits(running=1, queued=3)) as engine:
        first = engine.submit(es.raw("a" * 200), max_tokens=200, ignore_eos=True)
        while not engine.running:
            time.sleep(0.001)
        order: list[str] = []
        waiting = {
            name: engine.submit(es.raw("b"), priority=p, max_tokens=1) for name, p in (("low", 0), ("high", 5), ("low2", 0))
        }
        with pytest.raises(Overloaded):
            engine.submit(es.raw("c"))
        for name, handle in waiting.items():
            handle.listen(Waiter(Now(), lambda name=name, handle=handle: order.append(name) if handle.over else None))
        first.cancel()
        for handle in waiting.values():
            handle.result(timeout=30)
    assert list(dict.fromkeys(order)) == ["high", "low", "low2"]


def test_whoever_waits_in_one_loop_is_told_together():
    told: list[int] = []

    class Counted(Now):
        def call_soon_threadsafe(self, call, *given):
            told.append(len(given[0]))
            super().call_soon_threadsafe(call, *given)

    loop, texts = Counted(), dict[int, str]()
    with Engine(tiny(), Limits(running=4)) as engine:
        handles = [engine.submit(es.raw("abc"), max_tokens=300, ignore_eos=True, seed=i, temperature=1.0) for i in range(4)]
        for at, handle in enumerate(handles):
            texts[at] = ""

            def take(at=at, handle=handle):
                texts[at] += "".join(event.text for event in handle.take() if isinstance(event, Text))

            handle.listen(Waiter(loop, take))
        wanted = [handle.result(timeout=60).text for handle in handles]
        for _ in range(3000):  # a result may be there before its last event is told
            if list(texts.values()) == wanted:
                break
            time.sleep(0.01)
    assert list(texts.values()) == wanted
    assert max(told) > 1


def test_drain_ends_what_runs_and_takes_nothing_new():
    with Engine(tiny()) as engine:
        handle = engine.submit(es.raw("abc"), max_tokens=40, ignore_eos=True)
        assert engine.drain(30)
        assert len(handle.result().tokens) == 40
        with pytest.raises(NotReady):
            engine.submit(es.raw("abc"))
    with Engine(tiny()) as engine:
        slow = engine.submit(es.raw("abc"), max_tokens=400, ignore_eos=True)
        assert not engine.drain(0)
        with pytest.raises(NotReady):
            slow.result(timeout=5)


def test_a_long_prompt_is_read_in_pieces_while_others_are_written(monkeypatch):
    lm, seen = tiny(), list[int]()
    run = lm.model._run
    monkeypatch.setattr(lm.model, "_run", lambda one, taps: (seen.append(len(one.tokens)), run(one, taps))[1])
    with Engine(lm, Limits(prompt_rows=32)) as engine:
        running = engine.submit(es.raw("abc"), max_tokens=60, ignore_eos=True, drafter=None)
        while not len(seen) > 3:
            time.sleep(0.001)
        long = engine.submit(es.raw("x" * 400), max_tokens=1, drafter=None)
        long.result(timeout=30)
        running.result(timeout=30)
    assert max(seen) <= 33  # a piece, or the rest of the prompt beside the one row of the other


def test_a_slow_reader_is_bounded_and_loses_nothing():
    with Engine(tiny()) as engine:
        handle = engine.submit(es.raw("abc"), max_tokens=300, ignore_eos=True, drafter=None, temperature=1.0, seed=1)
        completion = handle.result(timeout=60)
        assert len(handle._events) <= 20
        check_stream(list(handle))
        assert len(completion.tokens) == 300


def test_the_next_turn_of_a_chat_is_known():
    with Engine(tiny(), Limits(prompt_rows=16)) as engine:
        first = engine.submit(es.raw("a talk " * 40), max_tokens=8, drafter=None).result(timeout=30)
        ids = [*engine.lm.prompt(es.raw("a talk " * 40)).ids(), *first.tokens, 65, 66]
        second = engine.submit(es.Prefix(ids), max_tokens=1).result(timeout=30)
        assert second.stats.cached_tokens == len(ids) - 3
        other = engine.submit(es.Prefix(ids), max_tokens=1, cache_salt="mine").result(timeout=30)
        assert other.stats.cached_tokens == 0


def test_asyncio():
    async def main(engine: Engine) -> None:
        alm = es.AsyncLanguageModel(engine)
        options = {"max_tokens": 12, "seed": 3, "temperature": 1.0}
        pieces = [piece async for piece in alm.stream(es.raw("abc"), **options)]
        assert "".join(pieces) == (await alm.complete(es.raw("abc"), **options)).text
        assert await alm.generate(es.raw("abc"), schema={"enum": [7]}, max_tokens=30) == 7
        task = asyncio.ensure_future(alm.complete(es.raw("abc"), max_tokens=400, ignore_eos=True, n=16))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            while engine.running:
                await asyncio.sleep(0.01)

    with Engine(tiny()) as engine:
        asyncio.run(main(engine))


def test_prompt_scores_are_the_models():
    lm = tiny()
    with Engine(lm, Limits(prompt_rows=4)) as engine:
        found = engine.submit(es.raw("abcdefgh"), max_tokens=0, logprobs=2).result(timeout=30)
        scored = lm.score(es.Prefix([lm.tokenizer.encode("a")[0]]), lm.tokenizer.encode("bcdefgh"))
        assert found.prompt_logprobs == list(scored.logprobs)
        assert len(found.prompt_logprobs[0].top) == 2


def test_limits_are_checked():
    for wrong in ({"running": 0}, {"queued": -1}, {"prompt_rows": 1.5}, {"cache_mb": "much"}):
        with pytest.raises(InvalidInput):
            serving.Limits(**wrong)


def test_idle_time_is_no_stall():
    with Engine(tiny()) as engine:
        engine._turned -= 1000
        assert engine.stalled == 0
        handle = engine.submit(es.raw("a"), max_tokens=400, ignore_eos=True)
        assert engine.stalled < 500
        handle.cancel()
