"""What may stand in the bodies of requests; nothing else is taken."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from espalier.serving.http.failure import Failure, wrong

__all__ = ["DROPPED", "Chat", "Completions", "Espalier", "Format", "Shared", "StreamOptions", "Structured", "Tool", "read_body"]

# Names that servers once had, and what stands there now.
DROPPED = {
    "guided_json": "structured_outputs: {json: …}",
    "guided_regex": "structured_outputs: {regex: …}",
    "guided_choice": "structured_outputs: {choice: […]}",
    "guided_grammar": "structured_outputs: {grammar: …}",
    "guided_decoding_backend": "nothing: there is one engine",
    "guided_whitespace_pattern": "structured_outputs: {json: …}",
    "structural_tag": "response_format: {type: 'structural_tag', …}",
    "functions": "tools",
    "function_call": "tool_choice",
    "best_of": "n",
    "use_beam_search": "espalier: {search: 'beam:4'}",
    "length_penalty": "espalier: {search: 'beam:4, alpha=1.0'}",
    "early_stopping": "espalier: {search: 'beam:4'}",
    "n_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
    "logits_processors": "espalier: {shapers: {…}}",
    "skip_special_tokens": "return_token_ids",
    "suffix": "a prompt that ends where the text begins",
    "modalities": "nothing: answers are texts",
    "audio": "nothing: answers are texts",
}
Text = Annotated[str, StringConstraints(strict=True)]


def _whole(value: Any) -> Any:
    """A whole number of JSON as Python has it: 16.0 is one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _false(value: Any) -> Any:
    if value is not False:
        raise ValueError("schemas are held as they are; leave it out")
    return value


WHOLE = BeforeValidator(_whole)
Whole = Annotated[int, WHOLE]
Token = Annotated[int, Field(ge=0), WHOLE]
Tokens = list[Token]
Messages = Annotated[list[dict[str, Any]], Field(min_length=1)]


class Strict(BaseModel):
    """An object of JSON that holds nothing unknown."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StreamOptions(Strict):
    """How a stream tells what it used."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(Strict):
    """A schema with a name, as OpenAI writes it."""

    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | bool | None = Field(None, alias="schema")
    strict: bool | None = None


class Format(Strict):
    """What an answer must be."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchema | None = None
    structures: list[dict[str, Any]] | None = None
    triggers: list[str] | None = None
    format: dict[str, Any] | None = None


class Structured(Strict):
    """vLLM's constraints: one of them."""

    json_: dict[str, Any] | bool | str | None = Field(None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | dict[str, Any] | None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: Annotated[Literal[False], BeforeValidator(_false)] | None = None
    whitespace_pattern: None = None


class Function(Strict):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.:-]{1,256}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    """A tool: a function."""

    type: Literal["function"] = "function"
    function: Function


class Named(Strict):
    """The name of a function."""

    name: str


class Chosen(Strict):
    """The choice of a function."""

    type: Literal["function"] = "function"
    function: Named


class Espalier(Strict):
    """What only this server knows."""

    drafter: str | None = None
    verifier: str | None = None
    search: str | None = None
    heal: bool | None = None
    shapers: dict[str, Any] | None = None
    logprobs_of: Literal["model", "sampled"] | None = None
    stats: bool | None = None


class Shared(Strict):
    """What chats and completions have in common."""

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=1024), WHOLE] | None = None
    seed: Whole | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    max_tokens: Annotated[int, Field(ge=0), WHOLE] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: Format | None = None
    top_k: Annotated[int, Field(ge=-1), WHOLE] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=1e-30, le=1e30)] | None = None
    min_tokens: Annotated[int, Field(ge=0), WHOLE] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Tokens | None = None
    include_stop_str_in_output: bool | None = None
    bad_words: list[str] | None = None
    allowed_token_ids: Tokens | None = None
    prompt_logprobs: Annotated[int, Field(ge=0), WHOLE] | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    priority: Whole | None = None
    cache_salt: str | None = None
    request_id: str | None = None
    return_token_ids: bool | None = None
    structured_outputs: Structured | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | bool | None = None
    regex: str | None = None
    ebnf: str | None = None
    espalier: Espalier | None = None
    user: str | None = None  # these have no effect
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    verbosity: str | None = None


class Chat(Shared):
    """The body of /v1/chat/completions."""

    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=0), WHOLE] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0), WHOLE] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Chosen | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


class Completions(Shared):
    """The body of /v1/completions."""

    prompt: str | Tokens | list[str] | list[Tokens]
    best_of: Annotated[int, Field(ge=1, le=1024), WHOLE] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0), WHOLE] | None = None


B = TypeVar("B", bound=Strict)


def read_body(kind: type[B], given: Any) -> tuple[B, list[str]]:
    """The body, and the names in it that are not known, which a lenient server may leave out. Raises `Failure` for a wrong one.

    >>> read_body(Completions, {"prompt": "a", "n": 2})[0].n
    2
    """
    if not isinstance(given, dict):
        raise wrong(f"the body is {_kind(given)}; it is to be an object, such as {{'model': …}}")
    known = {field.alias or name for name, field in kind.model_fields.items()}
    spoken = given.get("modalities")
    if given.get("audio") is not None or (isinstance(spoken, list) and "audio" in spoken):
        raise Failure(501, "audio is not supported; this server writes texts only", "not_supported", "audio")
    try:
        return kind.model_validate(given), [name for name in given if name not in known]
    except ValidationError as error:
        raise told(error, kind) from None
    except RecursionError:
        raise wrong("the body holds lists and objects too deep in each other; make it flatter") from None


def told(error: ValidationError, kind: type[Strict]) -> Failure:
    """What is wrong with a body: the first thing."""
    first = next((e for e in error.errors() if e["type"] != "extra_forbidden"), error.errors()[0])
    if any(e["type"] == "extra_forbidden" for e in error.errors()) and first["type"] != "missing":
        first = next(e for e in error.errors() if e["type"] == "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"] if not (isinstance(part, str) and "[" in part))
    if first["type"] == "extra_forbidden":
        return wrong(unknown(str(first["loc"][-1]), place, kind), place)
    if first["type"] == "missing":
        return wrong(f"{place} is missing; it must be given", place)
    given = repr(first["input"])
    return wrong(f"{place} was {given[:200]}: {first['msg'][0].lower()}{first['msg'][1:]}", str(first["loc"][0]))


def unknown(name: str, place: str, kind: type[Strict]) -> str:
    """What is said of a field that is not known."""
    if name in DROPPED:
        return f"the field {place} is not known here; write {DROPPED[name]}"
    names = {field.alias or own for own, field in kind.model_fields.items()}
    for inner in (Espalier, StreamOptions, Structured, Function, Format):
        names |= {field.alias or own for own, field in inner.model_fields.items()} if place != name else set()
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(kind.model_fields))}"
    return f"the field {place} is not known; {hint}"


def _kind(value: Any) -> str:
    names = {"list": "a list", "str": "a text", "int": "a number", "float": "a number", "NoneType": "null"}
    return names.get(type(value).__name__, type(value).__name__)
