"""What a request held is freed when it ends, not when cycles are collected: guides hold much that the collector cannot see."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from served import tiny
from test_http import CHAT, HI, TEXT, run

import espalier as es
from espalier.serving import Engine

SCHEMAS = [{"type": "object", "properties": {f"a{i}": {"type": "string", "maxLength": 3}}} for i in range(4)]


@contextmanager
def collected() -> Iterator[list[Any]]:
    """Afterwards, what of this library was left in cycles meanwhile."""
    gc.collect()
    gc.disable()
    found: list[Any] = []
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += [each for each in gc.garbage if type(each).__module__.startswith("espalier")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    "options", [lambda i: {"schema": SCHEMAS[i]}, lambda i: {"regex": f"[ab]{{{i + 1}}}"}, lambda i: {"stop": "e"}]
)
def test_nothing_of_a_request_waits_for_the_collector(options: Callable[[int], dict[str, Any]]) -> None:
    with Engine(tiny()) as engine:
        engine.submit(es.raw("x"), max_tokens=30, **options(0)).result(60)
        with collected() as found:
            for i in range(1, 4):
                engine.submit(es.raw("x"), max_tokens=30, seed=i, **options(i)).result(60)
        assert not found


def test_nothing_of_a_request_over_http_does_either() -> None:
    async def scenario(c: httpx.AsyncClient) -> None:
        async def ask(schema: Any) -> None:
            form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
            ways = {"max_tokens": 30, "seed": 1}
            await c.post(CHAT, json={"messages": HI, "response_format": form, **ways})
            await c.post(TEXT, json={"prompt": "x", "json_schema": schema, "stream": True, **ways})

        await ask(SCHEMAS[0])
        with collected() as found:
            for schema in SCHEMAS[1:]:
                await ask(schema)
        assert not [each for each in found if type(each).__module__.startswith("espalier.constraints")]

    run(scenario)


def test_the_engine_hands_free_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr("espalier.serving.tidy.trim", lambda: trims.append(1) or True)
    with Engine(tiny()) as engine:
        engine.submit(es.raw("x"), max_tokens=3).result(60)
        assert not trims
        engine._tidy.every = 0.0
        engine.submit(es.raw("x"), max_tokens=3).result(60)
    assert trims
