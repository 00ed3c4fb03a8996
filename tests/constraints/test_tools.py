"""Tools in the forms that people have, calls in the formats that models write, and schemas that say nothing."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import warnings
from typing import Any

import pydantic
import pytest
from toys import speaks

import espalier as es
from espalier.constraints import TokenGuide, ToolCall, read_calls, tool_calls
from espalier.constraints.schema.schema import Schema
from espalier.constraints.schema.tool_forms import told
from espalier.constraints.tool_call_formats import FORMATS
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

CITY = {"type": "string"}
ADD = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def add(a: int, b: bool = False) -> int:
    """A tool."""
    return a


class Weather(pydantic.BaseModel):
    city: str


class Adder:
    """Adds, too."""

    def __call__(self, a: int) -> int:
        return a


@dataclasses.dataclass
class Named:
    """As MCP's and OpenAI's packages have tools: objects with a dump."""

    name: str
    schema: dict[str, Any]

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return {"name": self.name, "description": "Adds.", "inputSchema": self.schema}


def call(name: str, arguments: Any, order: str = "na") -> bytes:
    members = {"n": f'"name": {json.dumps(name, ensure_ascii=False)}', "a": f'"arguments": {json.dumps(arguments)}'}
    return f"<tool_call>\n{{{', '.join(members[o] for o in order)}}}\n</tool_call>".encode()


@pytest.mark.parametrize(
    "tools",
    [
        {"add": ADD},
        {"add": {"name": "add", "description": "d", "parameters": ADD}},
        {"add": {"type": "function", "function": {"name": "add", "parameters": ADD}}},
        [{"type": "function", "function": {"name": "add", "parameters": ADD}}],
        [{"name": "add", "description": "d", "inputSchema": ADD}],
        [{"name": "add", "input_schema": ADD}],
        [add],
        add,
        {"add": add},
        {"type": "function", "function": {"name": "add", "parameters": ADD}},
    ],
)
def test_forms_of_tools(tools: Any) -> None:
    guide = tool_calls(tools)
    assert guide.matches(b"So: " + call("add", {"a": 1}) + call("add", {"a": 2}, "an"))
    assert guide.matches(b'<tool_call>{ "name" :"add","arguments":{"a":1}}</tool_call>')
    for wrong in (call("add", 5), call("add", {}), call("sub", {"a": 1}), call("add", {"a": 1.0})):
        assert not guide.matches(wrong)
    assert read_calls(tools, (b"x" + call("add", {"a": 7}, "an")).decode()) == [ToolCall("add", {"a": 7})]


@pytest.mark.parametrize(
    ("tools", "name"),
    [
        (lambda: [Adder()], "Adder"),
        (lambda: Adder(), "Adder"),
        (lambda: {"add": Adder()}, "add"),
        (lambda: [Adder().__call__], "__call__"),
        (lambda: [functools.partial(add, b=True)], "add"),
        (lambda: [functools.partial(Adder())], "Adder"),
        (lambda: [Named("add", ADD)], "add"),
        (lambda: Named("add", ADD), "add"),
        (lambda: {"sum": Named("add", ADD)}, "sum"),
        (lambda: (tool for tool in [add]), "add"),
        (lambda: {"x": add}.values(), "add"),
        (lambda: {add}, "add"),
        (lambda: iter([{"name": "add", "parameters": ADD}]), "add"),
    ],
    ids=range(13),
)
def test_objects_that_can_be_called_and_tools_that_come_one_by_one(tools: Any, name: str) -> None:
    guide = tool_calls(tools())
    assert guide.matches(call(name, {"a": 1}))
    assert not guide.matches(call(name, {"a": "x"}))
    assert read_calls(tools(), call(name, {"a": 7}).decode()) == [ToolCall(name, {"a": 7})]
    assert told(tools())[0]["function"]["name"] == name
    assert speaks([f"x{call(name, {'a': 1}).decode()}"]).generate(es.raw("x"), tools=tools(), n=2)[1].tool_calls == [
        ToolCall(name, {"a": 1})
    ]


class Chained:
    """As LangChain has tools."""

    name, description, args_schema = "weather", "Says it.", Weather

    def __call__(self, tool_input: str) -> str:
        return tool_input


def test_a_schema_of_arguments_beside_a_name() -> None:
    assert tool_calls([Chained()]).matches(call("weather", {"city": "Rom"}))
    assert not tool_calls([Chained()]).matches(call("weather", {"tool_input": "Rom"}))
    assert told([Chained()])[0]["function"]["description"] == "Says it."
    assert tool_calls({"any": True}).matches(call("any", {"x": 1}))
    assert not tool_calls({"any": True}).matches(call("any", 5))
    assert not tool_calls({"any": "{}"}).matches(call("any", 5))


def test_a_tool_keeps_its_name_in_a_mapping() -> None:
    assert tool_calls({"rain": Chained()}).matches(call("rain", {"city": "Rom"}))


CITIES = {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}}, "required": ["city"]}


@pytest.mark.parametrize(
    "tools",
    [
        [{"function_declarations": [{"name": "now"}, {"name": "weather", "description": "Says it.", "parameters": CITIES}]}],
        {"functionDeclarations": [{"name": "now"}, {"name": "weather", "description": "Says it.", "parameters": CITIES}]},
        [
            {"toolSpec": {"name": "now", "inputSchema": {"json": {}}}},
            {
                "toolSpec": {
                    "name": "weather",
                    "description": "Says it.",
                    "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": ["string", "null"]}}}},
                }
            },
        ],
    ],
    ids=["gemini", "gemini, one object", "bedrock"],
)
def test_tools_of_other_vendors(tools: Any) -> None:
    guide = tool_calls(tools)
    for city in ("Rom", None):
        assert guide.matches(call("weather", {"city": city}))
    assert not guide.matches(call("weather", {"city": 3}))
    assert guide.matches(call("now", {}))
    assert [tool["function"]["description"] for tool in told(tools)] == ["", "Says it."]


class Unnamed(Chained):
    args_schema = None


class Broken:
    def model_dump(self, **_: Any) -> dict[str, Any]:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([Unnamed()], "'weather' has no args_schema"),
        ([Broken()], "Broken cannot be read: RuntimeError"),
        ({"f": '{"type": '}, "tool 'f'"),
        ({"f": "[1]"}, "tool 'f'"),
    ],
)
def test_tools_that_cannot_be_read_are_named(tools: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        tool_calls(tools)


def test_arguments_find_what_their_registry_names() -> None:
    schema = Schema({"properties": {"city": {"$ref": "https://example.org/city"}}}, registry={"https://example.org/city": CITY})
    assert tool_calls({"f": schema}).matches(call("f", {"city": "Rom"}))
    assert not tool_calls({"f": schema}).matches(call("f", {"city": 3}))


def test_tools_say_what_they_are() -> None:
    """This one."""
    several = [add, Adder(), Named("x", ADD), functools.partial(test_tools_say_what_they_are)]
    described = [tool["function"]["description"] for tool in told(several)]
    assert described == ["A tool.", "Adds, too.", "Adds.", "This one."]


@pytest.mark.parametrize("parameters", [None, {}])
def test_tools_without_parameters(parameters: Any) -> None:
    for tools in ({"now": parameters}, [{"name": "now", "parameters": parameters}], [{"name": "now"}]):
        guide = tool_calls(tools)
        assert guide.matches(call("now", {}))
        assert not guide.matches(call("now", 5))
        assert not guide.matches(call("now", {"x": 1}))


def test_names_beyond_ascii_and_several_tools() -> None:
    guide = tool_calls({"größe": ADD, "Weather": Weather, 'quote"d': None})
    assert guide.matches(call("größe", {"a": 1}) + call("Weather", {"city": "Rom"}, "an") + call('quote"d', {}))
    assert guide.matches(b'<tool_call>\n{"name": "gr\\u00f6\\u00dfe", "arguments": {"a": 1}}\n</tool_call>')
    [found] = read_calls([Weather], call("Weather", {"city": "Rom"}).decode())
    assert found.arguments == Weather(city="Rom")


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ({"add": ADD, "bad": {"type": "object", "required": None}}, ["'bad'"]),
        ([{"name": "bad", "inputSchema": {"type": "strin"}}], ["'bad'"]),
        ({"bad": {"type": "integer"}}, ["'bad'", "object"]),
        ({"bad": '{"type": "integer"}'}, ["'bad'", "object"]),
        ({"bad": False}, ["'bad'", "{}"]),
        ({"bad": list[int]}, ["'bad'", "array"]),
        ([int], ["'int'", "object"]),
        ([{"description": "no name"}], ["no name", "OpenAI"]),
        ([{"name": "a"}, {"name": "a"}], ["'a'", "twice"]),
        ([], ["no tools"]),
        ("add", ["MCP"]),
        ([5], ["5"]),
    ],
)
def test_errors_name_the_tool(tools: Any, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as error:
        tool_calls(tools)
    for word in words:
        assert word in str(error.value)


def test_a_call_comes_within_so_many_characters() -> None:
    guide = tool_calls({"add": ADD}, at_least_one=True, most=5)
    assert guide.matches(b"12345" + call("add", {"a": 1}) + b"free")
    state = guide.advance(guide.start(), b"12345")
    assert guide.advance(state, b"6") is None
    assert not guide.accepts(state)


CALLS = [("add", {"a": 1}), ("now", {})]
TEXTS = {
    "hermes": call("add", {"a": 1}).decode() + call("now", {}).decode(),
    "mistral": '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}, {"name": "now", "arguments": {}}]',
    "mistral-args": '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]now[CALL_ID]0aB4c6d8e[ARGS]{}',
    "llama3": '{"name": "add", "parameters": {"a": 1}}',
    "llama3-pythonic": "[add(a=1), now()]",
    "harmony": "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\": 1}<|call|>"
    "<|channel|>commentary to=functions.now<|message|>{}<|call|>",
    "json": '{"name": "add", "arguments": {"a": 1}}',
}  # fmt: skip


@pytest.mark.parametrize("format", list(FORMATS))
def test_formats_of_calls(format: str) -> None:
    tools = {"add": ADD, "now": None}
    guide = tool_calls(tools, format=format, at_least_one=True)
    assert guide.matches(TEXTS[format].encode())
    found = read_calls(tools, TEXTS[format], format)
    assert [tuple(c) for c in found] == CALLS[: len(found)]
    assert not guide.matches(TEXTS[format].replace('"a": 1', '"a": "x"').replace("a=1", 'a="x"').encode())


def test_python_values_in_calls() -> None:
    guide = tool_calls([add], format="llama3-pythonic", at_least_one=True)
    assert guide.matches(b"[add(a=1, b=True)]")
    assert not guide.matches(b"[add(a=1, b=true)]")
    assert not guide.matches(b"[add(b=True)]")
    assert read_calls([add], "[add(a=1, b=True)]", "llama3-pythonic") == [ToolCall("add", {"a": 1, "b": True})]


def test_schemas_that_say_nothing_are_told() -> None:
    wrapped = {"name": "person", "strict": True, "schema": {"type": "object", "required": ["a"]}}
    for schema in (wrapped, {"type": "json_schema", "json_schema": wrapped}):
        assert es.json_schema(schema).matches(b'{"a": 1}')
        assert not es.json_schema(schema).matches(b"1")
    with pytest.raises(InvalidInput, match="OpenAPI"):
        es.json_schema({"openapi": "3.1.0", "paths": {}, "components": {}})
    with pytest.raises(InvalidInput, match="tool"):
        es.json_schema({"name": "add", "parameters": ADD})
    with pytest.warns(UserWarning, match="'properties'"):
        es.json_schema({"name": {"type": "string"}, "age": {"type": "integer"}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        es.json_schema({"title": "T", "type": "object"})
        es.json_schema({"type": "integer", "example": {"a": 1}})
        es.json_schema({"$ref": "#/$defs/a", "$defs": {"a": {}}})
        es.json_schema({})


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"name": "Bob", "age": 3}, "'name', 'age' are no keywords"),
        ({"type": "object", "a": {"type": "integer"}}, "'a' are no keywords"),
        ({"properties": {"a": {"b": {"type": "integer"}}}}, "#/properties/a: 'b' are no keywords"),
        ({"items": {"b": {"type": "integer"}}}, "#/items: 'b' are no keywords"),
        ({"$defs": {"A": {"type": "integer"}}}, "'$defs' alone says nothing"),
        ({"definitions": {"A": {"type": "integer"}}}, "write {'$ref': '#/definitions/A'"),
    ],
)
def test_a_part_that_says_nothing_is_named(schema: dict[str, Any], says: str) -> None:
    with pytest.warns(UserWarning, match=re.escape(says)):
        es.json_schema(schema)


def test_documents_and_wrappers_in_a_schemas_place() -> None:
    for wrapped in (
        '{"name": "n", "schema": {"type": "integer"}}',
        {"type": "json_schema", "name": "n", "schema": {"type": "integer"}},
    ):
        assert [es.json_schema(wrapped).matches(t) for t in (b"1", b'"a"')] == [True, False]
    with pytest.raises(InvalidInput, match="#/definitions/NAME"):
        es.json_schema({"swagger": "2.0", "definitions": {"A": {"type": "object"}}})
    with pytest.raises(InvalidInput, match="half of a character"):
        es.json_schema({"const": "\ud800"})


NAMES = [
    "[TOOL_CALLS]",
    "[CALL_ID]",
    "[ARGS]",
    "<|python_tag|>",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "<|constrain|>",
    "<tool_call>",
    "</tool_call>",
]
CALL_TOKENS = Vocab(
    [*(bytes([b]) for b in range(256)), *(None for _ in NAMES), None], end=[256 + len(NAMES)], names=dict(enumerate(NAMES, 256))
)


def ids(text: str) -> list[int]:
    """A text of single bytes and the special tokens that it names."""
    parts = re.split(f"({'|'.join(map(re.escape, NAMES))})", text)
    return [id for part in parts for id in ([256 + NAMES.index(part)] if part in NAMES else part.encode())]


def reaches(law: TokenGuide, tokens: list[int]) -> bool:
    state = law.start()
    for token in tokens:
        state = None if state is None else law.advance(state, token)
    return state is not None and law.accepts(state)


BODY = '{"name": "add", "arguments": {"a": 1}}'
THOUGHT = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"


@pytest.mark.parametrize(
    ("format", "text", "whole"),
    [
        ("mistral", f"[TOOL_CALLS] [{BODY}]", True),
        ("mistral-args", '[TOOL_CALLS]add[ARGS]{"a": 1}', True),
        ("mistral-args", 'So [TOOL_CALLS]add[CALL_ID]0aB4c6d8e[ARGS]{"a": 1}', True),
        ("llama3", '<|python_tag|>{"name": "add", "parameters": {"a": 1}}', True),
        ("llama3", '{"name": "add", "parameters": {"a": 1}}', True),
        ("hermes", f"So <tool_call>\n{BODY}\n</tool_call> ok", True),
        ("hermes", "no call", False),
        ("harmony", '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1}', True),
        ("harmony", f"{THOUGHT}<|channel|>commentary to=functions.now<|message|>{{}}", True),
        ("harmony", f"{THOUGHT}<|channel|>final<|message|>4", False),
        ("harmony", "4", None),
    ],
)
def test_special_tokens_of_calls_are_tokens_where_the_vocabulary_has_them(format: str, text: str, whole: bool | None) -> None:
    tools = {"add": ADD, "now": None}
    free, demanded = (tool_calls(tools, format=format, tokens=NAMES, at_least_one=must) for must in (False, True))
    tokens = ids(text)
    assert reaches(TokenGuide(free, CALL_TOKENS), tokens) == (whole is not None)
    assert reaches(TokenGuide(demanded, CALL_TOKENS), tokens) == (whole is True)
    if tokens != list(text.encode()) and whole:  # the same spelled as text is no call
        assert not reaches(TokenGuide(demanded, CALL_TOKENS), list(text.encode()))
        written = "".join(CALL_TOKENS.name(t) if t >= 256 else chr(t) for t in tokens)
        assert read_calls(tools, written, format)[0].name in ("add", "now")


def test_vocabularies_that_differ_in_names_alone() -> None:
    calls, thoughts = (Vocab([b"a", None, None], end=[2], names={1: name}) for name in ("<tool_call>", "<think>"))
    for guide in (es.constraints.token("<think>"), es.constraints.token("<think>") + es.choices(["a"])):
        for vocab, allowed in ((calls, []), (thoughts, [1])):
            law = guide.over(vocab)
            assert [i for i, ok in enumerate(law.mask(law.start())) if ok] == allowed


def test_calls_alone_and_one_at_most() -> None:
    two = call("add", {"a": 1}) + call("add", {"a": 2})
    assert tool_calls({"add": ADD}, alone=True).matches(two)
    assert not tool_calls({"add": ADD}, alone=True).matches(b"So: " + two)
    assert not tool_calls({"add": ADD}, alone=True, parallel=False).matches(two)
    assert not tool_calls({"add": ADD}, parallel=False).matches(two)
    listed = b"Well. [TOOL_CALLS] [%s]" % call("add", {"a": 1})[12:-13]
    assert tool_calls({"add": ADD}, format="mistral").matches(listed)
    assert not tool_calls({"add": ADD}, format="mistral").matches(b"a [TOOL_CALLS] b")
    assert not tool_calls({"add": ADD}, format="llama3").matches(b'  {"name": 5}')
