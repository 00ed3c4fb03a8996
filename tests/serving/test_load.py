"""Under load, over real HTTP: texts, log-probabilities and joined streams are those of `lm.complete` alone; nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest
from served import chunks, tiny
from test_http import SCHEMA, TOOL
from test_serving_engine import Leaky
from test_sockets import metric, server, wait

import espalier as es
from espalier import serving
from espalier.models.executors import native
from espalier.serving.http.reasoning_and_calls import Parts
from espalier.serving.http.tool_stream import tool_guide

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")
LONG_FORM = "ESPALIER_LOAD" in os.environ  # 500 for the long form
REQUESTS = int(os.environ.get("ESPALIER_LOAD", "60"))
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
Case = tuple[str, dict[str, Any], Any, dict[str, Any]]  # path, body, and the prompt and the options of the library


def some_case(dice: random.Random) -> Case:
    """A request, everything about it at random, and what the library calls it."""
    seed, temperature = dice.randrange(1000), dice.choice([0.0, 0.7, 1.0, 1.5])
    tokens = dice.randrange(1, 30)
    body: dict[str, Any] = {"seed": seed, "temperature": temperature, "max_tokens": tokens, "stream": dice.random() < 0.5}
    options: dict[str, Any] = {"seed": seed, "temperature": temperature, "max_tokens": tokens}
    scored, own = dice.random() < 0.4, dict[str, Any]()
    what = dice.choice(["free", "schema", "regex", "stop", "n", "beam", "tools", "shapers"])
    chat = what == "tools" or dice.random() < 0.3
    if what == "schema":
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        options["schema"] = SCHEMA
    elif what == "regex":
        body["regex"] = options["regex"] = "[a-f]{2,9}(x|yz)+"
    elif what == "stop":
        body["stop"] = options["stop"] = ["e", "ab"]
    elif what == "n":
        body["n"] = options["n"] = dice.randrange(2, 4)
    elif what == "beam":
        own["search"] = options["decoder"] = f"beam:{dice.randrange(2, 4)}"
        del body["temperature"], options["temperature"]
        body["temperature"], options["temperature"] = 0, 0.0
    elif what == "shapers":
        own["shapers"] = {"top_k": 5, "no_repeat": [2]}
        options["shapers"] = ["top_k:5", "no_repeat:2"]
    if what != "beam":
        drafter = dice.choice([None, "none", "lookup", "recycling"])
        if drafter is not None:
            own["drafter"] = drafter
            options["drafter"] = None if drafter == "none" else drafter
    if own:
        body["espalier"] = own
    text = "".join(dice.choice("abc de") for _ in range(dice.randrange(1, 120)))
    if chat:
        messages = [{"role": "user", "content": text}]
        body["messages"] = messages
        prompt: Any = messages
        if what == "tools":
            body |= {"tools": [TOOL], "tool_choice": "required", "max_tokens": 300}
            options |= {"max_tokens": 300, "tools_of": body}
        if scored:
            body |= {"logprobs": True, "top_logprobs": 2}
    else:
        ids = [ord(c) % 200 for c in text]
        body["prompt"], prompt = (text, es.raw(text)) if dice.random() < 0.7 else (ids, es.Prefix(ids))
        if scored:
            body["logprobs"] = 2
    if scored:
        options["logprobs"] = 2
    return (CHAT if chat else TEXT), body, prompt, options


def alone(lm: es.LanguageModel, case: Case) -> list[tuple[Any, ...]]:
    """Text, calls, log-probabilities and reason of each choice, from the library."""
    _, _, prompt, options = case
    options = dict(options)
    if "tools_of" in options:
        from espalier.serving.http.request_builder import chat_ids
        from espalier.serving.http.request_fields import Chat

        body = Chat.model_validate(options.pop("tools_of"))
        prompt = es.Prefix(chat_ids(body, lm))
        guide = tool_guide(body.tools or [], body.tool_choice, True, serving.Limits().guide)
        options |= {"constraint": guide, "in_time": "try"}
    found = []
    for one in lm.complete(prompt, **options):
        parts = Parts(tools="hermes" if "tools" in case[1] else None)
        parts.feed(one.text, final=True)
        calls = [(call.name, call.arguments) for call in parts.calls.calls]
        logprobs = [float(p) for p in one.logprobs] if "logprobs" in options else None
        ended = one.finish_reason == "stop" and one.whole
        reason = "length" if not ended else "tool_calls" if calls else "stop"
        found.append((parts.content, calls, logprobs, reason))
    return found


def whole(path: str, answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The same of an answer that came whole."""
    found = []
    for choice in answer["choices"]:
        message = choice.get("message", {})
        text = (message.get("content") or "") if path == CHAT else choice["text"]
        calls = [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", [])]
        found.append((text, calls, _logprobs(path, choice["logprobs"]), choice["finish_reason"]))
    return found


def joined(path: str, events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The same of a stream."""
    parts: dict[int, dict[str, Any]] = {}
    for event in events:
        for choice in event["choices"]:
            one = parts.setdefault(choice["index"], {"text": "", "calls": {}, "logprobs": None, "reason": None})
            delta = choice.get("delta", {})
            one["text"] += (delta.get("content") or "") if path == CHAT else choice["text"]
            for call in delta.get("tool_calls", []):
                known = one["calls"].setdefault(call["index"], [call["function"].get("name"), ""])
                known[1] += call["function"]["arguments"]
            more = _logprobs(path, choice["logprobs"])
            one["logprobs"] = one["logprobs"] if more is None else (one["logprobs"] or []) + more
            one["reason"] = choice["finish_reason"] or one["reason"]
    return [
        (one["text"], [tuple(c) for c in one["calls"].values()], one["logprobs"], one["reason"])
        for _, one in sorted(parts.items())
    ]


def _logprobs(path: str, given: Any) -> list[float] | None:
    if given is None:
        return None
    return [entry["logprob"] for entry in given["content"]] if path == CHAT else given["token_logprobs"]


def same(case: Case, got: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> bool:
    searched = "search" in case[1].get("espalier", {})
    if case[1]["stream"] and searched and len(got) < len(expected):
        return False
    for (text, calls, logprobs, reason), (t, c, lp, r) in zip(got, expected, strict=True):
        if (text, calls, reason) != (t, c, r):
            return False
        unstreamed = case[1]["stream"] and searched  # of a search only the first text comes in pieces
        if lp is not None and logprobs != lp and not (unstreamed and logprobs is None):
            return False
    return True


async def load(client: httpx.AsyncClient, cases: list[Case], cancelled: set[int]) -> dict[int, list[tuple[Any, ...]]]:
    """Sends all at once, 64 side by side; a part of the clients goes away in the middle."""
    gate, found = asyncio.Semaphore(64), dict[int, list[tuple[Any, ...]]]()

    async def one(at: int) -> None:
        path, body, _, _ = cases[at]
        async with gate:
            request_builder = asyncio.ensure_future(client.post(path, json=body))
            if at in cancelled:
                await asyncio.sleep(0.003 * (at % 20))
                request_builder.cancel()
                with suppress(asyncio.CancelledError, httpx.HTTPError):
                    await request_builder
                return
            answer = await request_builder
            assert answer.status_code == 200, (body, answer.text)
            found[at] = joined(path, chunks(answer.text)) if body["stream"] else whole(path, answer.json())

    await asyncio.gather(*(one(at) for at in range(len(cases))))
    return found


def differing(address: str, lm: es.LanguageModel, cases: list[Case], cancelled: set[int]) -> list[int]:
    """Which of the cases came out differently over HTTP than alone."""

    async def main() -> dict[int, list[tuple[Any, ...]]]:
        limits = httpx.Limits(max_connections=80)
        async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as client:
            return await load(client, cases, cancelled)

    found = asyncio.run(main())
    assert set(found) == set(range(len(cases))) - cancelled
    return [at for at, got in sorted(found.items()) if not same(cases[at], got, alone(lm, cases[at]))]


def test_http_under_load_is_the_library_alone():
    dice = random.Random(11)
    cases = [some_case(dice) for _ in range(REQUESTS)]
    cancelled = set(dice.sample(range(REQUESTS), REQUESTS // 5))
    with server(running=16, prompt_rows=32, queued=REQUESTS) as (_, client):
        lm = tiny(cache_mb=0, context=4096)
        assert differing(str(client.base_url), lm, cases, cancelled) == []
        wait(lambda: metric(client, "requests_running") + metric(client, "requests_waiting") == 0)


def test_a_planted_bug_is_found_over_http(monkeypatch):
    leaky = Leaky()
    from espalier.serving.http import request_builder

    monkeypatch.setattr(request_builder, "_shaper", lambda name, arguments: leaky)

    async def main() -> list[str]:
        with serving.Engine(tiny(), serving.Limits(running=4)) as engine:
            transport = httpx.ASGITransport(serving.app(engine))
            async with httpx.AsyncClient(transport=transport, base_url="http://x", timeout=60) as client:
                body = {"prompt": "abc", "max_tokens": 12, "espalier": {"shapers": {"leaky": None}, "drafter": "none"}}
                found = await asyncio.gather(*(client.post(TEXT, json={**body, "seed": s}) for s in range(6)))
                return [each.json()["choices"][0]["text"] for each in found]

    texts = asyncio.run(main())
    fresh = [
        tiny(cache_mb=0).complete(es.raw("abc"), max_tokens=12, seed=s, temperature=1.0, shapers=[Leaky()], drafter=None).text
        for s in range(6)
    ]
    assert texts != fresh


OVER = 2000 if LONG_FORM else 300


async def raw(port: int, method: str, path: str, body: Any = None) -> tuple[int, float, bytes]:
    """Status, seconds, and all that came: by hand, since a client of many connections would measure itself."""
    data = b"" if body is None else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.perf_counter()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    first = await reader.readline()
    seconds = time.perf_counter() - started
    rest = await reader.read()
    writer.close()
    return int(first.split()[1]), seconds, rest


def test_overload_refuses_quickly_and_loses_none():
    async def main(port: int) -> tuple[list[tuple[int, float, bytes]], list[float]]:
        done, health = asyncio.Event(), list[float]()

        async def ask(at: int) -> tuple[int, float, bytes]:
            await asyncio.sleep(at * 0.005)
            return await raw(port, "POST", TEXT, {"prompt": "abc", "max_tokens": 40, "ignore_eos": True, "seed": at})

        async def watch() -> None:
            while not done.is_set():
                status, seconds, _ = await raw(port, "GET", "/health")
                assert status == 200
                health.append(seconds)
                await asyncio.sleep(0.02)

        watching = asyncio.ensure_future(watch())
        found = await asyncio.gather(*(ask(at) for at in range(OVER)))
        done.set()
        await watching
        return found, health

    with server(running=4, queued=64) as (_, client):
        found, health = asyncio.run(main(client.base_url.port))
        refused = sorted(seconds for status, seconds, _ in found if status == 429)
        assert {status for status, _, _ in found} == {200, 429}
        assert all(b"retry-after" in rest and b"overloaded" in rest for status, _, rest in found if status == 429)
        p99 = [sorted(each)[int(0.99 * len(each))] for each in (refused, health)]
        print(f"overload: {len(refused)} of {OVER} refused, p99 {p99[0] * 1e3:.0f} ms; health p99 {p99[1] * 1e3:.0f} ms")
        slow = 1 if LONG_FORM else 20  # the suite shares its machine
        assert p99[0] < 0.1 * slow
        assert p99[1] < 0.1 * slow
        assert metric(client, "requests_running") + metric(client, "requests_waiting") == 0


GONE = 1000 if LONG_FORM else 60


def test_clients_that_go_leave_nothing_behind():
    async def main(address: str) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as client:
            gate = asyncio.Semaphore(50)

            async def leave(at: int) -> None:
                prompt = "abc " * (200 if at % 3 == 0 else 2)  # some leave while their prompt is read, some in the queue
                body = {"prompt": prompt, "max_tokens": 2000, "ignore_eos": True, "stream": at % 2 == 0, "seed": at}
                async with gate:
                    request_builder = asyncio.ensure_future(client.post(TEXT, json=body))
                    await asyncio.sleep(0.05 * (at % 5))
                    request_builder.cancel()
                    with suppress(asyncio.CancelledError, httpx.HTTPError):
                        await request_builder

            await asyncio.gather(*(leave(at) for at in range(GONE)))

    with server(running=4, queued=2000, cache_mb=0) as (process, client):
        client.post(TEXT, json={"prompt": "a", "max_tokens": 1})
        asyncio.run(main(str(client.base_url)))  # threads of the pool are made once
        wait(lambda: metric(client, "requests_running") + metric(client, "requests_waiting") == 0, 60)

        def held() -> tuple[int, int]:
            folder = f"/proc/{process.pid}"
            return len(os.listdir(f"{folder}/fd")), len(os.listdir(f"{folder}/task"))

        wait(lambda: metric(client, "kv_cache_usage_perc") == 0)
        time.sleep(0.2)
        before = held()
        asyncio.run(main(str(client.base_url)))
        wait(lambda: metric(client, "requests_running") + metric(client, "requests_waiting") == 0, 60)
        wait(lambda: metric(client, "kv_cache_usage_perc") == 0)
        wait(lambda: held()[0] <= before[0] + 2 and held()[1] <= before[1] + 2)
        assert metric(client, "requests_cancelled_total") > GONE


@pytest.mark.skipif(not LONG_FORM, reason="the long form: ESPALIER_LOAD=500")
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_a_real_model_under_load(dtype):
    dice = random.Random(3)
    lm = es.load(dtype=dtype)
    made = [some_case(dice) for _ in range(80)]
    cases = [case for case in made if not isinstance(case[1].get("prompt"), list) and "beam" not in json.dumps(case[1])][:48]
    with serving.Engine(lm, serving.Limits(running=16)) as engine:

        async def main() -> dict[int, list[tuple[Any, ...]]]:
            transport = httpx.ASGITransport(serving.app(engine))
            async with httpx.AsyncClient(transport=transport, base_url="http://x", timeout=600) as client:
                return await load(client, cases, set())

        found = asyncio.run(main())
    assert [at for at, got in sorted(found.items()) if not same(cases[at], got, alone(lm, cases[at]))] == []
