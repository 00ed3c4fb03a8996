"""Requests: a prompt with options, read from the keywords of a call; names of other libraries are answered with ours."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, TypedDict

from espalier.constraints.guide import Guide
from espalier.decoders.decoder import Decoding
from espalier.drafting.draft import Drafter
from espalier.errors import InvalidInput, expect, require
from espalier.requests.option_groups import Constraining, Method, Sampling, Stopping, once
from espalier.requests.options import GROUPS, Options
from espalier.scorer import Scorer
from espalier.shaper import Shaper
from espalier.stop import Stop
from espalier.token_constraint import TokenConstraint
from espalier.verification.verifier import Verifier

__all__ = ["Constraining", "Flat", "Method", "Options", "Request", "Sampling", "Stopping", "read"]

# Names that people know from other libraries, and what they are called here.
FOREIGN = {
    "max_new_tokens": "max_tokens",
    "max_length": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "min_new_tokens": "min_tokens",
    "num_return_sequences": "n",
    "best_of": "n with decoder=",
    "do_sample": "temperature (0 is greedy)",
    "num_beams": "decoder=es.decoders.Beam(width)",
    "stop_sequences": "stop",
    "stop_strings": "stop",
    "eos_token_id": "stop_tokens",
    "stop_token_ids": "stop_tokens",
    "bad_words": "banned",
    "bad_words_ids": "banned",
    "allowed_token_ids": "allowed_tokens",
    "include_stop_str_in_output": "include_stop",
    "repeat_penalty": "repetition_penalty",
    "random_seed": "seed",
    "top_logprobs": "logprobs",
    "output_scores": "logprobs",
    "json_schema": "schema",
    "response_format": "schema",
    "response_model": "schema",
    "output_type": "schema",
    "guided_json": "schema",
    "guided_regex": "regex",
    "guided_grammar": "grammar",
    "guided_choice": "choices",
    "logits_processor": "shapers",
    "logits_processors": "shapers",
    "assistant_model": "drafter=es.drafting.DraftModel(model)",
    "prompt_lookup_num_tokens": "drafter='lookup'",
    "timeout": "max_seconds",
    "max_time": "max_seconds",
}


def read(options: Mapping[str, Any]) -> Options:
    """The options of a call: flat keywords and groups of them. Raises `InvalidInput` for an unknown or doubled one.

    >>> read({"sampling": Sampling(seed=1), "max_tokens": 8}).seed
    1
    """
    known = {field.name for field in fields(Options)}
    flat = {name: value for name, value in options.items() if name not in GROUPS}
    for wrong in sorted(flat.keys() - known):
        raise InvalidInput(_unknown(wrong, known))
    for name, group in GROUPS.items():
        given = options.get(name)
        if given is None:
            continue
        expect(given, group, name, f"a group of options: {name}=es.requests.{group.__name__}(…)")
        for field in fields(group):
            value = getattr(given, field.name)
            if value is not field.default:
                require(field.name not in flat, f"{field.name} was given twice, alone and in {name}=; leave one of them out")
                flat[field.name] = value
    return Options(**flat)


def _unknown(wrong: str, known: set[str]) -> str:
    if wrong in FOREIGN:
        return f"unknown option {wrong}; here it is called {FOREIGN[wrong]}"
    close = difflib.get_close_matches(wrong, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"unknown option {wrong}; {hint}there are: {', '.join(sorted(known))}, and the groups {', '.join(GROUPS)}"


class Request:
    """A prompt with options of its own, for `lm.complete_all([Request(…), …])`.

    >>> Request("Hi", seed=1).options.seed
    1
    """

    __slots__ = ("given", "prompt")

    def __init__(self, prompt: Any, **options: Any) -> None:
        self.prompt, self.given = prompt, once(options)
        read(self.given)

    @property
    def options(self) -> Options:
        """Its options, alone."""
        return read(self.given)

    def over(self, shared: Mapping[str, Any]) -> Options:
        """Its options where it has some, the shared ones elsewhere."""
        return read({**shared, **self.given})


class Flat(TypedDict, total=False):
    """The keywords of `generate` besides `schema` and `n`, for type checkers (a test compares them with `Options`)."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float] | None
    allowed_tokens: Sequence[int] | None
    banned: Sequence[str | int]
    shapers: Sequence[Shaper | str]
    scorer: Scorer | None
    seed: int | None
    max_tokens: int
    min_tokens: int
    max_seconds: float | None
    stop: str | Stop | Sequence[str | Stop] | None
    stop_tokens: Sequence[int]
    ignore_eos: bool
    include_stop: bool
    regex: str | None
    grammar: str | None
    choices: Sequence[str] | None
    constraint: Guide | TokenConstraint | None
    heal: bool
    tools: Any
    tool_choice: str
    cache_salt: str | None
    in_time: bool | Literal["try"] | None
    template_args: Mapping[str, Any] | None
    continue_final: bool | None
    special_in_text: bool
    decoder: Decoding | str | None
    drafter: Drafter | str | None
    verifier: Verifier | str | None
    logprobs: int | None
    sampling: Sampling
    stopping: Stopping
    constraining: Constraining
    method: Method
