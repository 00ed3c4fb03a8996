"""Reasoning, content and calls of tools, however the text is cut into pieces."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from served import client, tiny
from toys import tokenizer

import espalier as es
from espalier.serving.http.failure import Failure
from espalier.serving.http.messages import messages_of
from espalier.serving.http.reasoning_and_calls import Parts
from espalier.serving.http.stream import EventStream
from espalier.serving.prefill_budget import Pace

CALLS = '<tool_call>\n{"name": "add", "arguments": {"a": "}\\n</tool"}}\n</tool_call>'
TEXT = f"<think>Hm </thin k></think>\n\nSure. {CALLS}\n{CALLS} Done <tool"


def joined(pieces: list[str], thinks: str | None) -> tuple[str, str, dict[int, tuple[str, str]]]:
    """What the deltas say, joined."""
    parts, reasoning, content, calls = Parts(tools="hermes", thinks=thinks), "", "", dict[int, tuple[str, str]]()
    for at, piece in enumerate(pieces):
        for delta in parts.feed(piece, final=at == len(pieces) - 1):
            reasoning += delta.get("reasoning", "")
            content += delta.get("content", "")
            for call in delta.get("tool_calls", []):
                name, arguments = calls.get(call["index"], (call["function"].get("name"), ""))
                calls[call["index"]] = name, arguments + call["function"]["arguments"]
    assert (parts.reasoning, parts.content) == (reasoning, content)
    assert [(c.name, c.arguments) for c in parts.calls.calls] == list(calls.values())
    return reasoning, content, calls


def test_pieces_do_not_matter():
    dice = random.Random(0)
    whole = joined([TEXT], "may")
    assert whole[0] == "Hm </thin k>"
    assert whole[1] == "Sure.  Done <tool"
    assert list(whole[2].values()) == [("add", '{"a": "}\\n</tool"}')] * 2
    for _ in range(200):
        cuts = sorted(dice.sample(range(1, len(TEXT)), dice.randrange(1, 30)))
        assert joined([TEXT[a:b] for a, b in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)], "may") == whole


def test_a_prompt_that_opens_reasoning_and_a_text_without():
    assert joined(["Hm</think>yes"], "inside")[:2] == ("Hm", "yes")
    assert joined(["<th", "e end"], "may")[:2] == ("", "<the end")
    assert joined(["cut off"], "inside")[:2] == ("cut off", "")


def test_a_schema_holds_for_what_follows_the_reasoning():
    lm = tiny()
    tokens = tokenizer(chat=True)
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}<think>{# </think> #}"
    tokens.templates, tokens.template = {"default": template}, template
    lm = es.LanguageModel(lm.model, tokens, "thinker")

    async def scenario() -> None:
        async with client(lm) as c:
            body = {"messages": [{"role": "user", "content": "hi"}], "regex": "[xyz]{3}", "max_tokens": 480}
            bias = {str(t): 12 for t in tokens.encode("</think>")}  # the random model shall close its reasoning some time
            found = (await c.post("/v1/chat/completions", json={**body, "seed": 3, "logit_bias": bias})).json()
            choice = found["choices"][0]
            if choice["finish_reason"] == "stop":
                assert set(choice["message"]["content"]) <= set("xyz")
            assert choice["message"]["reasoning"] == choice["message"]["reasoning_content"]
            assert choice["finish_reason"] in ("stop", "length")

    asyncio.run(scenario())


def test_tools_are_told_where_the_template_does_not():
    from espalier.serving.http.request_fields import Tool

    tool = Tool.model_validate({"function": {"name": "add", "description": "Adds."}})
    turns = messages_of([{"role": "user", "content": "hi"}], [tool], shown=False)
    assert turns[0]["role"] == "system"
    assert "Adds." in turns[0]["content"]
    assert messages_of([{"role": "user", "content": "hi"}], [tool], shown=True) == [{"role": "user", "content": "hi"}]


def test_a_piece_of_a_prompt_takes_at_most_three_plain_turns():
    pace = Pace()
    assert pace.rows(64) == 16  # nothing is known yet
    for turn in (0.01, 0.02, 0.4, 0.02, 0.02):  # one turn was disturbed
        pace.turned(turn)
    for row in (0.001, 0.002, 0.004):  # rows further back cost more
        for _ in range(5):
            pace.read(10, 10 * row)
        assert pace.rows(1000) == round(3 * 0.02 / row)
    assert pace.rows(4) == 4
    pace.read(1, 100.0)
    assert pace.rows(64) >= 8


def test_no_ping_begins_a_stream_beside_the_answer_that_an_error_is():
    """The client's side takes its time to be let go, and a ping falls due meanwhile."""
    sent: list[Any] = []

    async def events():
        await asyncio.sleep(0.01)
        raise ValueError("no")
        yield b""

    async def receive():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            raise

    async def send(message):
        sent.append(message)

    stream = EventStream(events(), 0.05, lambda error: Failure(500, str(error), "server_error"), {})
    with pytest.raises(Failure):
        asyncio.run(stream({"type": "http"}, receive, send))
    assert sent == []
