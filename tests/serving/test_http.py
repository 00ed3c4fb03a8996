"""The endpoints: what they answer, what they refuse, and how."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from served import HI, chunks, client, tiny

import espalier as es
from espalier import serving
from espalier.models.executors import native

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "sub", "parameters": SCHEMA}}


def run(scenario: Any, **ways: Any) -> Any:
    """Runs a scenario with a client of a fresh server."""

    async def main() -> Any:
        async with client(**ways) as c:
            return await scenario(c)

    return asyncio.run(main())


def test_a_chat_is_the_librarys_text_whole_and_streamed():
    async def scenario(c: httpx.AsyncClient) -> None:
        body = {"messages": HI, "max_tokens": 12, "seed": 4, "logprobs": True, "top_logprobs": 2}
        whole = (await c.post(CHAT, json=body)).json()
        alone = tiny(cache_mb=0).complete(HI, max_tokens=12, seed=4, temperature=1.0, logprobs=2)
        choice = whole["choices"][0]
        assert choice["message"]["content"] == alone.text
        assert [entry["logprob"] for entry in choice["logprobs"]["content"]] == alone.logprobs
        assert all(len(entry["top_logprobs"]) == 2 for entry in choice["logprobs"]["content"])
        assert choice["finish_reason"] == "length"
        assert whole["usage"]["completion_tokens"] == 12
        streamed = await c.post(CHAT, json={**body, "stream": True, "stream_options": {"include_usage": True}})
        events = chunks(streamed.text)
        assert "".join(e["choices"][0]["delta"].get("content", "") for e in events[:-1]) == alone.text
        parts = [e["choices"][0]["logprobs"] for e in events[:-1]]
        assert [x["logprob"] for part in parts if part for x in part["content"]] == alone.logprobs
        assert events[-2]["choices"][0]["finish_reason"] == "length"
        assert events[-1]["usage"]["completion_tokens"] == 12
        assert events[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 0

    run(scenario)


def test_completions_of_many_prompts_with_echo_and_scores():
    async def scenario(c: httpx.AsyncClient) -> None:
        lm = tiny(cache_mb=0)
        body = {"prompt": ["abc", "de"], "n": 2, "max_tokens": 5, "seed": 1, "logprobs": 1}
        found = (await c.post(TEXT, json=body)).json()["choices"]
        alone = [
            one.text for text in ("abc", "de") for one in lm.complete(es.raw(text), n=2, max_tokens=5, seed=1, temperature=1.0)
        ]
        assert [choice["text"] for choice in found] == alone
        assert [choice["index"] for choice in found] == [0, 1, 2, 3]
        events = chunks((await c.post(TEXT, json={**body, "stream": True, "logprobs": None})).text)
        streamed = [""] * 4
        for event in events:
            streamed[event["choices"][0]["index"]] += event["choices"][0]["text"]
        assert streamed == alone
        scored = (await c.post(TEXT, json={"prompt": "abcdef", "max_tokens": 0, "echo": True, "logprobs": 1})).json()
        logprobs = scored["choices"][0]["logprobs"]
        ids = lm.tokenizer.encode("abcdef")
        assert logprobs["token_logprobs"] == [None, *lm.score(es.Prefix(ids[:1]), ids[1:]).logprobs]
        assert scored["choices"][0]["text"] == "abcdef"
        assert logprobs["text_offset"] == [0, 1, 2, 3, 4, 5]
        by_ids = (await c.post(TEXT, json={"prompt": ids, "max_tokens": 3, "seed": 2, "return_token_ids": True})).json()
        assert by_ids["choices"][0]["prompt_token_ids"] == ids
        assert len(by_ids["choices"][0]["token_ids"]) == 3
        assert (await c.post(TEXT, json={"prompt": "a"})).json()["usage"]["completion_tokens"] <= 16
        best = (await c.post(TEXT, json={"prompt": "abc", "n": 1, "best_of": 3, "max_tokens": 4, "seed": 1})).json()
        assert len(best["choices"]) == 1

    run(scenario)


CONSTRAINED = [
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, {"schema": SCHEMA}),
    ({"response_format": {"type": "json_object"}}, {"schema": {"type": "object"}}),
    ({"json_schema": SCHEMA}, {"schema": SCHEMA}),
    ({"structured_outputs": {"json": SCHEMA}}, {"schema": SCHEMA}),
    ({"structured_outputs": {"choice": ["red", "blue"]}}, {"choices": ["red", "blue"]}),
    ({"structured_outputs": {"regex": "[ab]{3}"}}, {"regex": "[ab]{3}"}),
    ({"regex": "[ab]{3}"}, {"regex": "[ab]{3}"}),
    ({"grammar": 'root ::= "a" root | "b"'}, {"grammar": 'root ::= "a" root | "b"'}),
    ({"ebnf": 'root ::= "a" root | "b"'}, {"grammar": 'root ::= "a" root | "b"'}),
]


@pytest.mark.parametrize(("field", "options"), CONSTRAINED)
def test_constraints_are_the_librarys(field, options):
    async def scenario(c: httpx.AsyncClient) -> None:
        found = (await c.post(CHAT, json={"messages": HI, "max_tokens": 60, "seed": 3, **field})).json()["choices"][0]
        alone = tiny(cache_mb=0).complete(HI, max_tokens=60, seed=3, temperature=1.0, **options)
        assert found["message"]["content"] == alone.text
        assert found["finish_reason"] == ("stop" if alone.whole else "length")

    run(scenario)


def test_sampling_options_are_the_librarys():
    pairs = [
        ({"temperature": 0.5, "top_p": 0.8}, {"temperature": 0.5, "top_p": 0.8}),
        ({"top_k": 3, "min_p": 0.01}, {"top_k": 3, "min_p": 0.01}),
        ({"top_k": -1, "repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
        ({"presence_penalty": 1.0, "frequency_penalty": 0.5}, {"presence_penalty": 1.0, "frequency_penalty": 0.5}),
        ({"logit_bias": {"70": 50}}, {"logit_bias": {70: 50}}),
        ({"stop": ["a", "e"], "include_stop_str_in_output": True}, {"stop": ["a", "e"], "include_stop": True}),
        ({"allowed_token_ids": [70, 71, 72]}, {"allowed_tokens": [70, 71, 72]}),
        ({"bad_words": ["a"], "min_tokens": 5}, {"banned": ["a"], "min_tokens": 5}),
        ({"stop_token_ids": [90, 91], "ignore_eos": True}, {"stop_tokens": [90, 91], "ignore_eos": True}),
        ({"espalier": {"search": "beam:3"}, "temperature": 0}, {"decoder": "beam:3", "temperature": 0.0}),
        ({"espalier": {"drafter": "none", "shapers": {"top_k": 4, "dry": [0.8]}}}, {"shapers": ["top_k:4", "dry:0.8"]}),
    ]

    async def scenario(c: httpx.AsyncClient) -> None:
        lm = tiny(cache_mb=0)
        for sent, options in pairs:
            body = {"prompt": "abc", "max_tokens": 10, "seed": 7, **sent}
            found = await c.post(TEXT, json=body)
            alone = lm.complete(es.raw("abc"), **{"max_tokens": 10, "seed": 7, "temperature": 1.0, **options})
            assert found.json()["choices"][0]["text"] == alone.text, (sent, found.text)

    run(scenario)


def test_tools_whole_and_streamed():
    async def scenario(c: httpx.AsyncClient) -> None:
        ways = [
            ({"tool_choice": "required"}, {"add", "sub"}),
            ({"tool_choice": {"type": "function", "function": {"name": "sub"}}}, {"sub"}),
            ({"tool_choice": "required", "parallel_tool_calls": False}, {"add", "sub"}),
        ]
        for seed, (way, names) in enumerate(ways):
            body = {"messages": HI, "tools": [TOOL, OTHER], "seed": seed, "max_tokens": 90, **way}  # the call needs 60
            choice = (await c.post(CHAT, json=body)).json()["choices"][0]
            calls = choice["message"]["tool_calls"]
            assert choice["finish_reason"] == "tool_calls"
            assert choice["message"]["content"] is None
            assert {call["function"]["name"] for call in calls} <= names
            assert all(json.loads(call["function"]["arguments"])["a"] in (1, 2) for call in calls)
            streamed: dict[int, dict[str, Any]] = {}
            for event in chunks((await c.post(CHAT, json={**body, "stream": True})).text):
                for part in event["choices"][0]["delta"].get("tool_calls", []):
                    if part["index"] not in streamed:
                        streamed[part["index"]] = {"id": part["id"], "name": part["function"]["name"], "arguments": ""}
                    else:
                        assert "id" not in part
                        assert "name" not in part["function"]
                    streamed[part["index"]]["arguments"] += part["function"]["arguments"]
            assert [(c["name"], c["arguments"]) for c in streamed.values()] == [
                (call["function"]["name"], call["function"]["arguments"]) for call in calls
            ]
        auto = {"messages": HI, "tools": [TOOL], "seed": 1, "max_tokens": 30}
        assert (await c.post(CHAT, json=auto)).json()["choices"][0]["finish_reason"] in ("length", "stop", "tool_calls")
        none = await c.post(CHAT, json={**auto, "tool_choice": "none"})
        assert "tool_calls" not in none.json()["choices"][0]["message"]

    run(scenario, lm=tiny(context=4096))


def test_a_call_for_which_there_is_no_room_is_cut_off():
    async def scenario(c: httpx.AsyncClient) -> None:
        body = {"messages": HI, "tools": [TOOL], "tool_choice": "required", "seed": 1, "max_tokens": 30}
        choice = (await c.post(CHAT, json=body)).json()["choices"][0]
        assert choice["finish_reason"] == "length"

    run(scenario)


@pytest.mark.parametrize("body", [{"prompt": "abc"}, {"messages": HI}])
def test_token_ids_and_scores_of_the_prompt_are_streamed_too(body):
    async def scenario(c: httpx.AsyncClient) -> None:
        path = TEXT if "prompt" in body else CHAT
        asked = {**body, "max_tokens": 20, "seed": 1, "return_token_ids": True, "prompt_logprobs": 1}
        whole = (await c.post(path, json=asked)).json()
        events = chunks((await c.post(path, json={**asked, "stream": True})).text)
        told = [choice for event in events for choice in event["choices"]]
        assert [token for choice in told for token in choice.get("token_ids", [])] == whole["choices"][0]["token_ids"]
        for name in ("prompt_token_ids", "prompt_logprobs"):
            found = [place[name] for place in [*told, *events] if place.get(name)]
            assert found == [whole["choices"][0].get(name) or whole[name]]

    run(scenario)


WRONG = [
    (TEXT, "{", 400, "no JSON"),
    (TEXT, '{"prompt": "a", "temperature": NaN}', 400, "NaN"),
    (TEXT, "[" * 10_000, 400, "deep|JSON"),
    (TEXT, [], 400, "a list"),
    (TEXT, {}, 400, "prompt is missing"),
    (CHAT, {"messages": []}, 400, "messages"),
    (CHAT, {"messages": [{"role": "boss", "content": "a"}]}, 400, "messages.0.role"),
    (CHAT, {"messages": [{"role": "user", "content": "a", "colour": 1}]}, 400, "colour"),
    (CHAT, {"messages": [{"role": "user", "content": 3}]}, 400, "content"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": {}, "text": "a"}]}]}, 400, "content.0"),
    (CHAT, {"messages": [{"role": "assistant", "content": "a", "tool_calls": 0}]}, 400, "tool_calls"),
    (CHAT, {"messages": [{"role": "assistant", "content": "a", "reasoning": 1}]}, 400, "reasoning"),
    (CHAT + "/input_tokens", {"messages": HI, "allowed_token_ids": [99999]}, 400, "99999"),
    (TEXT, {"prompt": "a", "max_tokens": 1.5}, 400, "max_tokens"),
    (TEXT, {"prompt": "a", "structured_outputs": {"json": {}, "disable_additional_properties": 0}}, 400, "disable_add"),
    (TEXT, {"prompt": "a", "temprature": 1}, 400, "temperature"),
    (TEXT, {"prompt": "a", "temperature": "hot"}, 400, "temperature"),
    (TEXT, {"prompt": "a", "temperature": -1}, 400, "temperature"),
    (TEXT, {"prompt": "a", "temperature": True}, 400, "temperature"),
    (TEXT, {"prompt": "a", "top_p": 1.5}, 400, "top_p"),
    (TEXT, {"prompt": "a", "n": 0}, 400, "n was 0"),
    (TEXT, {"prompt": "a", "n": 5000}, 400, "n was 5000"),
    (CHAT, {"messages": HI, "tools": [{"function": {"name": "f", "parameters": {"type": "array"}}}]}, 400, "an object"),
    (TEXT, {"prompt": ""}, 400, "empty"),
    (TEXT, {"prompt": [99999]}, 400, "99999"),
    (TEXT, {"prompt": "a", "stop": ""}, 400, "stop string is empty"),
    (TEXT, {"prompt": "a", "logprobs": 21}, 400, "at most 20"),
    (TEXT, {"prompt": "a", "stream_options": {}}, 400, "stream"),
    (TEXT, {"prompt": "a", "stream": True, "stream_options": {"include_usag": True}}, 400, "include_usage"),
    (TEXT, {"prompt": "a", "regex": "a", "grammar": "b"}, 400, "regex and grammar|grammar and regex"),
    (TEXT, {"prompt": "a", "regex": "("}, 400, "offset 0"),
    (TEXT, {"prompt": "a", "grammar": "x ::= y"}, 400, "grammar"),
    (TEXT, {"prompt": "a", "json_schema": {"type": "colour"}}, 400, "colour"),
    (TEXT, {"prompt": "a", "structured_outputs": {"regex": "a", "choice": ["b"]}}, 400, "regex and choice"),
    (TEXT, {"prompt": "a", "guided_json": {}}, 400, "structured_outputs"),
    (TEXT, {"prompt": "a", "guided_regex": "a"}, 400, "structured_outputs"),
    (TEXT, {"prompt": "a", "response_format": {"type": "text", "json_schema": {"schema": {}}}}, 400, "has no json_schema"),
    (TEXT, {"prompt": "a", "structured_outputs": {"json": {}, "disable_additional_properties": True}}, 400, "disable_add"),
    (TEXT, {"prompt": "a", "stop_token_ids": [99999]}, 400, "stop_token_ids: '99999'"),
    ("/tokenize", {"prompt": "a", "tools": []}, 400, "tools goes with messages"),
    (CHAT, {"messages": HI, "functions": []}, 400, "tools"),
    (CHAT, {"messages": HI, "top_logprobs": 2}, 400, "logprobs"),
    (CHAT, {"messages": HI, "tool_choice": "required"}, 400, "tools"),
    (CHAT, {"messages": HI, "tools": [TOOL], "tool_choice": {"function": {"name": "mul"}}}, 400, "mul"),
    (TEXT, {"prompt": "a", "logit_bias": {"x": 1}}, 400, "no token"),
    (TEXT, {"prompt": "a", "espalier": {"drafter": "psychic"}}, 400, "psychic"),
    (TEXT, {"prompt": "a", "espalier": {"colour": 1}}, 400, "colour"),
    (TEXT, {"prompt": "a", "espalier": {"shapers": {"top_q": 1}}}, 400, "top_q"),
]


@pytest.mark.parametrize(("path", "body", "status", "said"), WRONG)
def test_wrong_bodies(path, body, status, said):
    async def scenario(c: httpx.AsyncClient) -> None:
        content = body if isinstance(body, str) else json.dumps(body)
        found = await c.post(path, content=content)
        assert found.status_code == status, found.text
        error = found.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert re.search(said, error["message"]), error["message"]
        assert found.headers["x-request-id"]
        good = await c.post(TEXT, json={"prompt": "abc", "max_tokens": 1})
        assert good.status_code == 200

    run(scenario)


def test_other_refusals():
    async def scenario(c: httpx.AsyncClient) -> None:
        async def code(found: httpx.Response) -> tuple[int, str]:
            return found.status_code, found.json()["error"]["code"]

        key = {"authorization": "Bearer secret", "x-request-id": "mine-1"}
        assert await code(await c.get("/v1/models")) == (401, "invalid_api_key")
        assert await code(await c.get("/v1/models", headers={"authorization": "Bearer no"})) == (401, "invalid_api_key")
        assert (await c.get("/health")).status_code == 200
        assert (await c.get("/v1/models", headers=key)).headers["x-request-id"] == "mine-1"
        c.headers.update(key)
        long = await c.post(TEXT, json={"prompt": "a" * 600})
        assert await code(long) == (400, "context_length_exceeded")
        assert "600" in long.text
        assert "512" in long.text
        assert await code(await c.post(TEXT, json={"prompt": "a", "model": "gpt"})) == (404, "model_not_found")
        assert await code(await c.get("/v1/models/gpt")) == (404, "model_not_found")
        assert (await c.get("/nothing")).status_code == 404
        assert (await c.get(TEXT)).status_code == 405
        assert (await c.post(TEXT, content=b" " * (1 << 21))).status_code == 413
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
        assert await code(await c.post(CHAT, json={"messages": image})) == (501, "not_supported")
        told = [{"role": "assistant", "content": "a", "audio": {"id": "x"}}]
        assert await code(await c.post(CHAT, json={"messages": told})) == (501, "not_supported")
        assert await code(await c.post("/v1/embeddings", json={})) == (501, "not_supported")
        spoken = {"messages": HI, "modalities": ["text", "audio"], "audio": {"voice": "x"}}
        assert await code(await c.post(CHAT, json=spoken)) == (501, "not_supported")
        words = {"prompt": "a", "structured_outputs": {"choice": [str(i) * 5 for i in range(30_000)]}}
        assert await code(await c.post(TEXT, json=words)) == (422, "limit_exceeded")

    settings = serving.Settings(api_keys=["other", "secret"], max_body_mb=1.5)
    run(scenario, limits=serving.Limits(guide_mb=1), settings=settings)


def test_a_bug_is_told_with_its_id_alone(caplog):
    async def scenario(c: httpx.AsyncClient) -> None:
        c.engine.lm.model.forward = None
        found = await c.post(TEXT, json={"prompt": "a"}, headers={"x-request-id": "r-9"})
        assert found.status_code == 500
        assert "r-9" in found.text
        assert "NoneType" not in found.text
        streamed = await c.post(TEXT, json={"prompt": "a", "stream": True})
        assert streamed.status_code == 500

    run(scenario)
    assert "NoneType" in caplog.text


def test_a_failure_within_a_stream_is_its_last_event():
    async def scenario(c: httpx.AsyncClient) -> None:
        forward, count = c.engine.lm.model.forward, iter(range(1000))
        c.engine.lm.model.forward = lambda *args: forward(*args) if next(count) < 6 else 1 / 0
        found = await c.post(TEXT, json={"prompt": "a", "stream": True, "ignore_eos": True, "max_tokens": 30})
        assert found.status_code == 200
        events = [json.loads(line[6:]) for line in found.text.split("\n\n") if line.startswith("data: ")]
        assert events[-1]["error"]["code"] == "internal_error"
        assert "choices" in events[0]

    run(scenario, lm=tiny(cache_mb=0))


def test_overload_and_drain():
    async def scenario(c: httpx.AsyncClient) -> None:
        body = {"prompt": "abc", "max_tokens": 60, "ignore_eos": True}
        found = await asyncio.gather(*(c.post(TEXT, json=body) for _ in range(30)))
        statuses = [each.status_code for each in found]
        assert set(statuses) == {200, 429}
        refused = next(each for each in found if each.status_code == 429)
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.headers["retry-after"]
        c.engine.drain(0)
        left = await c.post(TEXT, json=body)
        assert left.status_code == 503
        assert left.headers["retry-after"]
        assert (await c.get("/ready")).status_code == 503
        assert (await c.get("/health")).status_code == 200

    run(scenario, limits=serving.Limits(running=2, queued=4))


def test_information():
    async def scenario(c: httpx.AsyncClient) -> None:
        model = (await c.get("/v1/models")).json()["data"][0]
        assert (model["id"], model["max_model_len"]) == ("mine", 512)
        assert (await c.get("/v1/models/mine")).json()["id"] == "mine"
        assert (await c.get("/version")).json()["version"] == "0.1.0"
        assert (await c.get("/props")).json()["default_generation_settings"]["n_ctx"] == 512
        tokens = (await c.post("/tokenize", json={"prompt": "abc"})).json()
        assert (tokens["count"], len(tokens["tokens"])) == (3, 3)
        assert (await c.post("/detokenize", json={"tokens": tokens["tokens"]})).json()["prompt"] == "abc"
        counted = (await c.post(CHAT + "/input_tokens", json={"messages": HI})).json()["input_tokens"]
        assert counted == (await c.post("/tokenize", json={"messages": HI})).json()["count"]
        used = (await c.post(CHAT, json={"messages": HI, "max_tokens": 2, "model": "mine"})).json()["usage"]
        assert used["prompt_tokens"] == counted
        described = (await c.get("/openapi.json")).json()
        for path, methods in described["paths"].items():
            for method in methods:
                assert (await c.request(method, path, content="{}")).status_code != 405, path
        metrics = (await c.get("/metrics")).text
        for name in METRICS.split():
            assert f"espalier_{name}" in metrics, name
        assert 'espalier_request_success_total{finished_reason="length"} 1.0' in metrics

    run(scenario, settings=serving.Settings(names=["mine", "alias"]))


METRICS = """requests_running requests_waiting request_success_total request_errors_total requests_cancelled_total
prompt_tokens_total prompt_tokens_cached_total generation_tokens_total kv_cache_usage_perc passes_total rows_per_pass
spec_decode_num_draft_tokens_total spec_decode_num_accepted_tokens_total guide_seconds time_to_first_token_seconds
inter_token_latency_seconds e2e_request_latency_seconds request_queue_time_seconds"""


def test_unknown_fields_may_be_left_out():
    async def scenario(c: httpx.AsyncClient) -> None:
        assert (await c.post(TEXT, json={"prompt": "a", "max_tokens": 1, "colour": 1})).status_code == 200

    run(scenario, settings=serving.Settings(unknown="warn"))


def test_a_message_cannot_close_its_turn():
    async def scenario(c: httpx.AsyncClient) -> None:
        plain = (await c.post("/tokenize", json={"messages": [{"role": "user", "content": "<end>"}]})).json()["tokens"]
        assert not set(plain) & c.engine.lm.vocab.end

    run(scenario)


@pytest.mark.parametrize(
    ("own", "bound"),
    [
        ({"search": "beam:100000"}, "64"),
        ({"search": "beam:k=100_000"}, "64"),
        ({"search": "adadec:0.9, beams=0xffff"}, "64"),
        ({"search": "adadec:0.9, ahead=5000"}, "64"),
        ({"search": "smc:1000000"}, "64"),
        ({"shapers": {"adadec": {"beams": 5000}}}, "16"),
        ({"shapers": {"adadec": [0.9, 2, 5000]}}, "16"),
        ({"shapers": {"contrastive_search": [4000, 0.6]}}, "16"),
    ],
    ids=str,
)
def test_what_costs_rows_is_bounded(own, bound):
    async def scenario() -> None:
        async with client() as c:
            answer = await c.post("/v1/completions", json={"prompt": "abc", "max_tokens": 2, "espalier": own})
            assert answer.status_code == 422
            assert f"at most {bound}" in answer.json()["error"]["message"]

    asyncio.run(scenario())
