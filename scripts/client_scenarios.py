"""The same scenarios with one client: `client_scenarios.py CLIENT URL KEY`. Prints `scenario: ok` or what failed.

Run by `clients.sh`, in an environment that has this client alone; nothing of this library is imported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, Field

HI = [{"role": "user", "content": "Name a city and how many people live there."}]
MODEL = "served"


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    people: int = Field(ge=0, le=99_999_999)


SCHEMA = City.model_json_schema() | {"additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "add_city", "description": "Adds a city.", "parameters": SCHEMA}}
Scenarios = Iterator[tuple[str, Callable[[], Any]]]


def openai(url: str, key: str) -> Scenarios:
    import openai

    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    chat, ways = client.chat.completions, {"model": MODEL, "messages": HI, "max_tokens": 120, "seed": 1}

    def stream() -> None:
        whole = chat.create(**ways).choices[0].message.content
        assert "".join(c.choices[0].delta.content or "" for c in chat.create(**ways, stream=True) if c.choices) == whole

    def helper() -> None:
        with chat.stream(**ways, response_format=City) as events:
            for _ in events:
                pass
            assert isinstance(events.get_final_completion().choices[0].message.parsed, City)

    def tools() -> None:
        talk: list[Any] = list(HI)
        for _ in range(2):
            said = chat.create(
                model=MODEL, messages=talk, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, seed=2
            )
            [call] = said.choices[0].message.tool_calls
            City.model_validate_json(call.function.arguments)
            talk += [said.choices[0].message.model_dump(exclude_none=True)]
            talk += [{"role": "tool", "tool_call_id": call.id, "content": "done"}]
        assert chat.create(model=MODEL, messages=talk, max_tokens=5).choices[0].finish_reason in ("stop", "length")

    yield "create", lambda: chat.create(**ways).choices[0].message.content
    yield "stream", stream
    yield "parse", lambda: checked(chat.parse(**ways, response_format=City).choices[0].message.parsed)
    yield "stream helper", helper
    yield "loop with tools", tools


def litellm(url: str, key: str) -> Scenarios:
    import litellm

    def ask(**options: Any) -> Any:
        return litellm.completion(
            f"openai/{MODEL}", HI, api_base=url, api_key=key, max_tokens=options.pop("max_tokens", 120), seed=1, **options
        )

    form = {"type": "json_schema", "json_schema": {"name": "City", "schema": SCHEMA, "strict": True}}
    yield "create", lambda: ask().choices[0].message.content
    yield "stream", lambda: "".join(c.choices[0].delta.content or "" for c in ask(stream=True))
    yield "json_schema", lambda: City.model_validate_json(ask(response_format=form).choices[0].message.content)
    called = lambda: ask(tools=[TOOL], tool_choice="required", parallel_tool_calls=False)  # noqa: E731
    yield "tools", lambda: City.model_validate_json(called().choices[0].message.tool_calls[0].function.arguments)


def langchain(url: str, key: str) -> Scenarios:
    from langchain_openai import ChatOpenAI

    llm = ChatOpenAI(base_url=url, api_key=key, model=MODEL, max_tokens=120, seed=1, max_retries=0)
    yield "invoke", lambda: llm.invoke("Name a city.").content
    yield "stream", lambda: "".join(str(piece.content) for piece in llm.stream("Name a city."))
    for method in ("json_schema", "function_calling"):
        made = llm.with_structured_output(City, method=method)
        yield method, lambda made=made: checked(made.invoke("Name a city and how many people live there."))


def instructor(url: str, key: str) -> Scenarios:
    import instructor
    import openai

    for name in ("TOOLS", "JSON_SCHEMA"):
        mode = getattr(instructor.Mode, name)
        client = instructor.from_openai(openai.OpenAI(base_url=url, api_key=key, max_retries=0), mode=mode)
        ways = {"model": MODEL, "messages": HI, "response_model": City, "max_retries": 0, "max_tokens": 120, "seed": 1}
        yield name, lambda client=client, ways=ways: checked(client.chat.completions.create(**ways))
        if name == "TOOLS":
            partial = {k: v for k, v in ways.items() if k != "response_model"} | {"response_model": instructor.Partial[City]}
            yield (
                "partial",
                lambda c=client, w=partial: City(**list(c.chat.completions.create(**w, stream=True))[-1].model_dump()),
            )


def pydantic_ai(url: str, key: str) -> Scenarios:
    from pydantic_ai import Agent, NativeOutput, ToolOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key=key))
    ways: Any = {"max_tokens": 200, "seed": 1}
    yield "run", lambda: Agent(model, model_settings=ways).run_sync("Name a city.").output
    for name, kind in (("tool output", ToolOutput), ("native output", NativeOutput)):
        agent: Any = Agent(model, output_type=kind(City), model_settings=ways)
        yield name, lambda agent=agent: checked(agent.run_sync("Name a city and how many people live there.").output)


def openai_agents(url: str, key: str) -> Scenarios:
    import openai
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled

    set_tracing_disabled(True)
    model = OpenAIChatCompletionsModel(model=MODEL, openai_client=openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0))
    seen, loop = list[int](), asyncio.new_event_loop()

    @function_tool
    def note(number: int) -> str:
        """Notes a number."""
        seen.append(number)
        return "noted"

    ways = ModelSettings(max_tokens=200)
    plain: Any = Agent(name="a", instructions="Be short.", model=model, output_type=City, model_settings=ways)
    forced = ModelSettings(max_tokens=400, tool_choice="required", parallel_tool_calls=False)
    caller: Any = Agent(name="b", instructions="Note 3.", model=model, tools=[note], model_settings=forced)

    def tools() -> None:
        loop.run_until_complete(Runner.run(caller, "Note 3.", max_turns=4))
        assert seen

    yield "output type", lambda: checked(loop.run_until_complete(Runner.run(plain, "Name a city.")).final_output)
    yield "tools", tools


def llama_index(url: str, key: str) -> Scenarios:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(model=MODEL, api_base=url, api_key=key, is_chat_model=True, is_function_calling_model=True, max_tokens=120)
    yield "chat", lambda: llm.chat([ChatMessage(role="user", content="Name a city.")]).message.content
    yield "stream", lambda: list(llm.stream_chat([ChatMessage(role="user", content="Name a city.")]))[-1].message.content
    yield "complete", lambda: llm.complete("Name a city.").text
    yield "structured", lambda: checked(llm.as_structured_llm(City).chat([ChatMessage(role="user", content="A city.")]).raw)


def outlines(url: str, key: str) -> Scenarios:
    import openai
    import outlines

    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    for name in ("from_openai", "from_vllm", "from_sglang"):
        model = getattr(outlines, name)(client, MODEL)
        yield name, lambda model=model: City.model_validate_json(model("Name a city.", City, max_tokens=120))
        if name != "from_openai":
            pattern = outlines.types.Regex("[a-f]{3}")
            yield f"{name} regex", lambda model=model, p=pattern: matched(model("Letters:", p, max_tokens=20))


def checked(found: Any) -> Any:
    """What was returned, which must be a city."""
    assert isinstance(found, City), f"not a City: {found!r}"
    return found


def matched(text: str) -> str:
    assert len(text) == 3, text
    assert set(text) <= set("abcdef"), text
    return text


CLIENTS: dict[str, Callable[[str, str], Scenarios]] = {
    each.__name__: each for each in (openai, litellm, langchain, instructor, pydantic_ai, openai_agents, llama_index, outlines)
}


def main(client: str, url: str, key: str) -> int:
    """Runs all scenarios of a client; how many failed."""
    wrong = 0
    for name, scenario in CLIENTS[client](url, key):
        try:
            found = scenario()
            assert found is None or found is True or found, "nothing came"
            print(f"{name}: ok")
        except Exception as error:
            wrong += 1
            print(f"{name}: FAILED {type(error).__name__}: {json.dumps(str(error)[:300])}")
    return wrong


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:4])))
