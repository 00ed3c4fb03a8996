"""The description of the server says of bodies what their readers do."""

from __future__ import annotations

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry
from served import HI, tiny
from test_http import TEXT, run


def test_numbers_that_are_whole_may_be_written_with_a_point():
    async def scenario(c: httpx.AsyncClient) -> None:
        plain, pointed = (
            {"prompt": [97, 98], "max_tokens": 4, "seed": 1},
            {"prompt": [97.0, 98.0], "max_tokens": 4.0, "seed": 1.0},
        )
        texts = [(await c.post(TEXT, json=body)).json()["choices"][0]["text"] for body in (plain, pointed)]
        assert texts[0] == texts[1]

    run(scenario)


def test_the_description_knows_the_tokens_and_the_messages():
    async def scenario(c: httpx.AsyncClient) -> None:
        described = (await c.get("/openapi.json")).json()["components"]["schemas"]
        most = tiny().vocab.size - 1
        assert described["Detokenize"]["properties"]["tokens"]["items"] == {"maximum": most, "minimum": 0, "type": "integer"}
        valid = Draft202012Validator(described["Chat"] | {"components": {"schemas": described}}, registry=Registry())
        for message in ({"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}):
            assert valid.is_valid({"messages": [message]})
        for message in (
            {"role": "user"},
            {"role": "boss", "content": "a"},
            {"role": "user", "content": [{"type": {}, "text": "a"}]},
        ):
            assert not valid.is_valid({"messages": [message]})
        assert not valid.is_valid({"messages": HI, "top_logprobs": 1})
        assert valid.is_valid({"messages": HI, "top_logprobs": 1, "logprobs": True})

    run(scenario)
