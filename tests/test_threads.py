"""Any mix of threads on one model gives each text as alone; a host's torch settings are left as they were."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import espalier as es
from espalier.models.executors.torch_threads import one_thread
from espalier.models.kv.pool import Pool
from tests.models.tiny import random_model, write_gguf

DRAFTERS = [None, "auto", "lookup", "recycling", "cache", "cascade", "fuse", "lookahead", "quantised", "jacobi", "hierarchy"]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9999}}, "required": ["a"]}


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> es.LanguageModel:
    path = Path(tmp_path_factory.mktemp("threads")) / "tiny.gguf"
    write_gguf(path, "llama", random_model("llama", num_hidden_layers=1))
    return es.load(path)


def text(lm: es.LanguageModel, i: int, drafter: str | None, rng: random.Random) -> str:
    """The text of request i by one of the ways to get it."""
    options: dict[str, Any] = {"max_tokens": 20, "temperature": [0, 1.0][i % 2], "seed": i, "drafter": drafter}
    options |= [{"schema": SCHEMA}, {"regex": "[a-z ]{5,30}"}, {"stop": ["th", "e"]}][i % 3]
    prompt, way = es.raw(f"prompt {i} " * 3), rng.randrange(4)
    if way == 0:
        return "".join(lm.stream(prompt, **options))
    if way == 1:  # a text that nobody reads to its end, then another one
        with_end = lm.stream(es.raw("given up"), **options)
        next(with_end, None)
        with_end.close()
    if way == 2:
        return lm.complete_all([es.raw("a neighbour"), prompt], **options)[1].text
    return lm.complete(prompt, **options).text


def in_threads(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def one(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def slow(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
    """Pauses at random places in the pool, where another thread may come in between."""
    for name in ("take", "release", "resize", "share"):
        real = getattr(Pool, name)

        def paused(*args: Any, real: Any = real) -> Any:
            if rng.random() < 0.05:
                time.sleep(rng.random() * 0.002)
            return real(*args)

        monkeypatch.setattr(Pool, name, paused)


def test_eight_threads_write_what_each_writes_alone(lm: es.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [text(lm, i, None, random.Random(3)) for i in range(12)]
    slow(monkeypatch, random.Random(0))
    wrong: list[tuple[int, str | None]] = []

    def work(number: int) -> None:
        rng = random.Random(number)
        for _ in range(int(os.environ.get("ESPALIER_TEXTS", "12"))):  # 200 in the long form
            i, drafter = rng.randrange(12), rng.choice(DRAFTERS)
            if text(lm, i, drafter, rng) != alone[i]:
                wrong.append((i, drafter))

    in_threads(8, work)
    assert not wrong
    assert lm.cache is not None
    lm.cache.clear()  # what was read is kept on purpose; nothing else is
    assert lm.model.kv.used == 0  # type: ignore[attr-defined]


def test_one_drafter_may_be_shared_by_threads(lm: es.LanguageModel) -> None:
    shared = es.drafting.Auto()
    alone = [lm.complete(es.raw(f"text {i}"), max_tokens=20, drafter=None).text for i in range(8)]

    def work(number: int) -> None:
        for i in range(number, number + 6):
            assert lm.complete(es.raw(f"text {i % 8}"), max_tokens=20, drafter=shared).text == alone[i % 8]

    in_threads(8, work)


def test_others_run_while_a_thread_waits_for_the_model(lm: es.LanguageModel) -> None:
    done: list[str] = []
    waiting = threading.Thread(target=lambda: done.append(lm.complete(es.raw("x"), max_tokens=3).text))
    with lm.model.passing:
        waiting.start()
        start = time.perf_counter()
        beats = sum(1 for _ in iter(lambda: time.perf_counter() - start < 0.1, False))
        assert beats > 1000  # this thread computes on
        assert not done
    waiting.join()
    assert len(done) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_default_dtype_of_the_host_changes_no_text(lm: es.LanguageModel, dtype: torch.dtype) -> None:
    options: dict[str, Any] = {"max_tokens": 12, "temperature": 1.0, "seed": 3, "schema": SCHEMA, "repetition_penalty": 1.3}
    alone = lm.complete(es.raw("some text"), **options).text
    torch.set_default_dtype(dtype)
    try:
        assert lm.complete(es.raw("some text"), **options).text == alone
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_torch_keeps_its_threads_in_this_thread_and_in_others(lm: es.LanguageModel) -> None:
    before, seen = torch.get_num_threads(), list[int]()
    with one_thread():
        born = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        born.start()
        born.join()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(torch.get_num_threads())
            time.sleep(0.001)

    watching = threading.Thread(target=watch)
    watching.start()
    with torch.enable_grad():
        lm.complete(es.raw("some text"), max_tokens=30)
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        for _ in lm.stream(es.raw("some text"), max_tokens=5):
            assert torch.get_num_threads() == before
            assert torch.is_grad_enabled()
    over.set()
    watching.join()
    assert torch.get_num_threads() == before
    assert set(seen) == {before}
