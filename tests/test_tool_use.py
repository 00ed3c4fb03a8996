"""Tools through `generate`: the template is told of them, calls are written under their schemas and read back."""

from __future__ import annotations

import json
import warnings

import pytest
from toys import random_lm, speaks

import espalier as es
from espalier.constraints import ToolCall, tools_text
from espalier.errors import InvalidInput
from espalier.text.tokenizer import Tokenizer


def add(a: int, b: int = 0) -> int:
    """Adds."""
    return a + b


CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


@pytest.mark.parametrize("tools", [[add], {"add": add}, [{"name": "add", "input_schema": {"type": "object"}}]])
def test_calls_are_written_and_read(tools):
    lm = speaks([f"x{CALL}"])
    out = lm.generate(es.raw("x"), tools=tools)
    assert out.text == CALL
    assert out.tool_calls == [ToolCall("add", {"a": 1, "b": 2})]
    assert lm.generate(es.raw("x"), tools=tools, tool_choice="none").text == CALL


@pytest.mark.parametrize("choice", ["required", "add"])
def test_a_call_is_demanded_and_ends_in_time(choice):
    lm = random_lm(seed=5)
    tools = {"add": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, "now": None}
    for seed in range(3):
        out = lm.generate(es.raw("x"), tools=tools, tool_choice=choice, max_tokens=120, temperature=1.0, seed=seed)
        assert out.whole
        assert out.text.startswith("<tool_call>")
        assert out.tool_calls
        assert {call.name for call in out.tool_calls} <= ({"add"} if choice == "add" else {"add", "now"})


def test_the_template_is_told_of_the_tools():
    lm = speaks(["[user]Hi[assistant]" + CALL], chat=True)
    assert lm.generate([{"role": "user", "content": "Hi"}], tools=[add]).tool_calls[0].name == "add"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tools": [add], "tool_choice": "sub"}, "the tools are add"),
        ({"tool_choice": "required"}, "without tools="),
        ({"tools": [add], "regex": "a"}, "tools= was given with regex"),
        ({"tools": "add"}, "MCP"),
        ({"tools": []}, "tokenizer.chat"),
        ({"stop": ["\ud800"]}, "surrogate"),
    ],
)
def test_choices_that_cannot_be_made(options, words):
    with pytest.raises(InvalidInput, match=words):
        random_lm().generate(es.raw("x"), **options)


def test_calls_are_written_with_the_special_tokens_of_the_vocabulary():
    lm = random_lm(seed=3)
    lm.tokenizer._backend.add_special_tokens(["[TOOL_CALLS]"])
    tok = Tokenizer(lm.tokenizer._backend, {"eos_token": "<end>", "chat_template": "{{ messages }}[TOOL_CALLS]"})
    lm = es.LanguageModel(es.models.Table.random(tok.vocab.size, 2, 0), tok, "toy")
    tools = {"add": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
    out = lm.generate(es.raw("x"), tools=tools, tool_choice="required", max_tokens=90)
    assert tok.vocab.name(out.tokens[0]) == "[TOOL_CALLS]"
    assert out.tool_calls[0].name == "add"


ASKED = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("prompt", ["Hi", ASKED, [{"role": "system", "content": "add things"}, *ASKED]])
def test_a_template_that_shows_no_tools_is_warned_of(prompt):
    lm = speaks(["[user]Hi[assistant]" + CALL], chat=True)
    with pytest.warns(UserWarning, match=r"does not see add: .*es\.constraints\.tools_text\(tools\)") as told:
        lm.generate(prompt, tools=[add], max_tokens=5)
    assert len(told) == 1


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "system", "content": tools_text([add])},
        {"role": "system", "content": "You have add(a, b)."},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]},
    ],
    ids=["text", "signature", "call"],
)
def test_tools_that_a_message_shows_are_not_warned_of(turn):
    lm = speaks(["[user]Hi[assistant]" + CALL], chat=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lm.generate([turn, *ASKED], tools=[add], max_tokens=5)
        lm.generate(ASKED, tools=[add], tool_choice="none", max_tokens=5)
        lm.generate(es.raw("Hi"), tools=[add], max_tokens=5)


def test_a_template_that_shows_tools_is_not_warned_of():
    lm = speaks(["Hi"], chat=True)
    settings = {"eos_token": "<end>", "chat_template": "{{ tools | tojson }}{{ messages[0]['content'] }}"}
    lm.tokenizer = Tokenizer(lm.tokenizer._backend, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lm.generate(ASKED, tools=[add], max_tokens=5)


def test_the_text_of_tools_holds_their_signatures():
    text = tools_text([add])
    [line] = [line for line in text.splitlines() if line.startswith("{") and "add" in line]
    said = json.loads(line)["function"]
    assert (said["name"], said["description"], set(said["parameters"]["properties"])) == ("add", "Adds.", {"a", "b"})
