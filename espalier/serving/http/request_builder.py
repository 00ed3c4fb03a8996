"""A body as requests of the engine: prompts and options, checked, made, and handed in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from espalier import catalogue, constraints
from espalier.constraints import Guide
from espalier.errors import LimitExceeded
from espalier.lm import LanguageModel
from espalier.prefix import Prefix
from espalier.requests.prompt import check_size
from espalier.serving.engine import Engine
from espalier.serving.http.failure import Failure, wrong
from espalier.serving.http.messages import messages_of
from espalier.serving.http.request_fields import Chat, Completions, Shared
from espalier.serving.http.response_format import guide_of
from espalier.serving.http.special_marks import THINKING, call_format, shows_tools, special_marks
from espalier.serving.request_handle import Handle
from espalier.serving.settings import Settings

WIDEST = 64  # hypotheses that a search keeps at most
AHEAD = 16  # tokens that a shaper looks at, or looks ahead, at most
_AHEAD = {"adadec", "contrastive_search"}  # shapers that compute rows of their own
_NO_ROWS = {"budget", "memory", "seed"}  # whole numbers that cost no rows by themselves
_WHOLE = re.compile(r"(?:(\w+)\s*=\s*)?(?<![\w.])(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\d[\d_]*)(?![\w.])")
_THINK, _THOUGHT = "<think>", "</think>"


@dataclass
class Asked:
    """The requests of a body: one per prompt, each for `n` texts."""

    body: Shared
    prompts: list[Prefix]
    handles: list[Handle] = field(default_factory=list)
    n: int = 1
    shown: int = 1  # of n, for best_of
    tools: str | None = None  # the format of calls, where there may be some, and of all of Harmony's messages
    marks: dict[int, str] = field(default_factory=dict)  # special tokens that say where reasoning and calls are
    thinks: str | None = None  # "inside": the prompt has opened a region of reasoning; "may": the text may
    logprobs: int | None = None
    sampled: bool = False  # log-probabilities are those of the law that was drawn from

    def cancel(self) -> None:
        """Lets go of all of them."""
        for handle in self.handles:
            handle.cancel()


def ask(engine: Engine, settings: Settings, body: Shared, made: Callable[[], None] = lambda: None) -> Asked:
    """Hands in what a body asks for; runs in a thread of its own, since guides and prompts are made here.

    `made` is called when all is made, right before it is handed in.
    """
    lm = engine.lm
    asked = Asked(body, prompts_of(body, lm))
    asked.n = asked.shown = body.n or 1
    if isinstance(body, Completions) and body.best_of is not None:
        if body.best_of < asked.n or body.stream:
            raise wrong("best_of is at least n, and is not streamed; leave it out", "best_of")
        asked.n = body.best_of
    if isinstance(body, Chat):
        calls, format = bool(body.tools) and body.tool_choice != "none", call_format(lm)
        asked.tools = format if calls or format == "harmony" else None
        asked.thinks = None if format == "harmony" else thinking(lm, asked.prompts[0])
        told = dict.fromkeys(THINKING, asked.thinks is not None)
        asked.marks = {id: name for id, name in special_marks(lm.vocab).items() if told.get(name, asked.tools is not None)}
    asked.logprobs = logprobs_of(body, settings)
    own = body.espalier
    asked.sampled = own is not None and own.logprobs_of == "sampled"
    if body.stream_options is not None and not body.stream:
        raise wrong("stream_options were given without stream: true; leave them out", "stream_options")
    free = (
        asked.tools is not None and isinstance(body, Chat) and body.tool_choice in (None, "auto")
    )  # free text holds reasoning too
    thought = partial(_thought, thinks=asked.thinks, engine=engine) if asked.thinks is not None and not free else None
    tokens = {lm.vocab.name(id) for id in lm.vocab.special - lm.vocab.end}
    options = options_of(body, lm) | {"n": asked.n, **guide_of(body, engine.limits.guide, thought, asked.tools, tokens)}
    scores = body.prompt_logprobs
    if isinstance(body, Completions) and body.echo and body.logprobs is not None:
        scores = max(scores or 0, body.logprobs)
    if asked.sampled or asked.logprobs is not None or (isinstance(body, Completions) and body.best_of):
        options["logprobs"] = asked.logprobs or 0
    if scores is not None and scores > settings.max_logprobs:
        raise wrong(f"prompt_logprobs={scores}: at most {settings.max_logprobs} are told", "prompt_logprobs")
    made()
    try:
        for x in asked.prompts:
            room = engine.room(x)
            most = tokens_of(body)
            if most == 0:
                scores, options["logprobs"] = scores or 0, options.get("logprobs") or 0
            given = options | {"max_tokens": max(1, room) if most is None else min(most, max(1, room))}
            if body.min_tokens:
                given["min_tokens"] = min(body.min_tokens, given["max_tokens"]) if most is None else body.min_tokens
            asked.handles.append(engine.submit(x, priority=body.priority or 0, prompt_logprobs=scores, **given))
    except BaseException:
        asked.cancel()
        raise
    return asked


def tokens_of(body: Shared) -> int | None:
    """How many tokens are asked for; None: what is left of the context."""
    if isinstance(body, Chat) and body.max_completion_tokens is not None:
        return body.max_completion_tokens
    if isinstance(body, Completions) and body.max_tokens is None:
        return 16
    return body.max_tokens


def logprobs_of(body: Shared, settings: Settings) -> int | None:
    """How many best tokens are told with each; None: no log-probabilities are."""
    count: int | None = None
    if isinstance(body, Chat):
        if body.top_logprobs is not None and not body.logprobs:
            raise wrong("top_logprobs was given without logprobs: true; add it", "top_logprobs")
        count = (body.top_logprobs or 0) if body.logprobs else None
    elif isinstance(body, Completions):
        count = body.logprobs
    if count is not None and count > settings.max_logprobs:
        raise wrong(f"{count} best tokens were asked for; at most {settings.max_logprobs} are told", "top_logprobs")
    return count


def options_of(body: Shared, lm: LanguageModel) -> dict[str, Any]:
    """The options of `lm.generate` that a body names, but for its constraint and the number of tokens."""
    found: dict[str, Any] = {
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "top_p": body.top_p if body.top_p != 1 else None,
        "top_k": body.top_k if body.top_k not in (None, 0, -1) else None,
        "min_p": body.min_p or None,
        "repetition_penalty": body.repetition_penalty,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "seed": None if body.seed is None else body.seed % (1 << 63),
        "stop": body.stop,
        "stop_tokens": body.stop_token_ids,
        "ignore_eos": body.ignore_eos,
        "include_stop": body.include_stop_str_in_output,
        "banned": body.bad_words,
        "allowed_tokens": body.allowed_token_ids,
        "cache_salt": body.cache_salt,
    }
    if body.logit_bias:
        found["logit_bias"] = {_token(name, lm, "logit_bias"): value for name, value in body.logit_bias.items()}
    for place in ("stop_token_ids", "allowed_token_ids"):
        for token in getattr(body, place) or ():
            _token(str(token), lm, place)
    own = body.espalier
    if own is not None:
        found |= {"verifier": own.verifier, "decoder": own.search, "heal": own.heal}
        if own.search is not None:
            narrow("espalier.search", own.search)
            width = getattr(catalogue.parse("decoder", own.search), "width", 1)
            if not isinstance(width, int) or width > WIDEST:
                raise LimitExceeded(f"espalier.search: a search keeps at most {WIDEST} hypotheses here, not {width}")
        found["drafter"] = own.drafter
        found["shapers"] = [_shaper(name, arguments) for name, arguments in (own.shapers or {}).items()] or None
        for shaper in found["shapers"] or ():
            if isinstance(shaper, str) and shaper.partition(":")[0].strip() in _AHEAD:
                narrow("espalier.shapers", shaper, AHEAD)
    given = {name: value for name, value in found.items() if value is not None}
    return given | ({"drafter": None} if given.get("drafter") == "none" else {})


def narrow(place: str, said: str, most: int = WIDEST) -> None:
    """Raises `LimitExceeded` where a whole number in the arguments of a search is larger: each costs rows at every token.

    >>> narrow("espalier.search", "beam:64, alpha=1.0")
    """
    for name, number in _WHOLE.findall(said.partition(":")[2]):
        digits = number.replace("_", "")
        large = len(digits) > 18 or (int(digits, 0) if digits[1:2].isalpha() else int(digits)) > most
        if large and name not in _NO_ROWS:
            raise LimitExceeded(f"{place}: {said[:80]!r} has {number[:20]}; whole numbers are at most {most} here")


def _shaper(name: str, arguments: Any) -> str:
    """A shaper as the catalogue reads it: its name, and its arguments as in a call."""
    if arguments is None or arguments == [] or arguments == {}:
        return name
    if isinstance(arguments, dict):
        said = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    elif isinstance(arguments, list):
        said = ", ".join(map(repr, arguments))
    else:
        said = arguments if isinstance(arguments, str) else repr(arguments)
    return f"{name}:{said}"


def _token(name: str, lm: LanguageModel, place: str) -> int:
    if not name.isascii() or not name.isdigit() or len(name) > 9 or int(name) >= lm.vocab.size:
        raise wrong(f"{place}: {name[:40]!r} is no token; this model has the tokens 0 to {lm.vocab.size - 1}", place)
    return int(name)


def prompts_of(body: Shared, lm: LanguageModel) -> list[Prefix]:
    """The prompts of a body, as prefixes. Raises `Failure` for one that leaves no room."""
    if isinstance(body, Chat):
        prompts = [chat_ids(body, lm)]
    else:
        assert isinstance(body, Completions)
        given: Any = body.prompt
        if isinstance(given, str) or (given and isinstance(given[0], int)):
            given = [given]
        if not given or not all(given):
            raise wrong("a prompt is empty; a model needs something to go on from", "prompt")
        for each in given if body.truncate_prompt_tokens is None else ():
            check_size(each, lm.tokenizer, lm.context)
        prompts = [lm.tokenizer.encode(each, special=True) if isinstance(each, str) else list(each) for each in given]
    for ids in prompts:
        for token in ids:
            if token >= lm.vocab.size:
                raise wrong(f"the prompt has token {token}; this model has the tokens 0 to {lm.vocab.size - 1}", "prompt")
    if body.truncate_prompt_tokens is not None:
        prompts = [ids[-body.truncate_prompt_tokens :] for ids in prompts]
    place = "messages" if isinstance(body, Chat) else "prompt"
    return [checked(ids, lm, place) for ids in prompts]


def checked(ids: Sequence[int], lm: LanguageModel, place: str) -> Prefix:
    """The prefix of a prompt that leaves room for an answer."""
    if len(ids) >= lm.context:
        said = f"the prompt has {len(ids)} tokens, but {lm.name} sees at most {lm.context}, output included; shorten it"
        raise Failure(400, said, "context_length_exceeded", place)
    if not ids:
        raise wrong("the prompt has no tokens; a model needs something to go on from", "prompt")
    return Prefix(ids)


def chat_ids(body: Chat, lm: LanguageModel) -> list[int]:
    """The tokens of a chat as the template writes it."""
    tools = body.tools or []
    shown = shows_tools(lm)
    turns = messages_of(body.messages, tools if body.tool_choice != "none" else [], shown)
    if body.truncate_prompt_tokens is None:
        check_size(turns, lm.tokenizer, lm.context)
    last = turns[-1]["role"] == "assistant" and not turns[-1].get("tool_calls")
    goes_on = body.continue_final_message if body.continue_final_message is not None else last
    if body.continue_final_message and body.add_generation_prompt:
        raise wrong("continue_final_message and add_generation_prompt exclude each other", "continue_final_message")
    args = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        args |= {"reasoning_effort": body.reasoning_effort, "enable_thinking": body.reasoning_effort != "none"} | args
    return lm.tokenizer.chat(
        turns,
        tools=[tool.model_dump(exclude_none=True) for tool in tools] if shown and tools else None,
        template_args=args,
        continue_final=goes_on,
        generate=body.add_generation_prompt is not False,
        context=lm.context if body.truncate_prompt_tokens is None else None,
    )


def thinking(lm: LanguageModel, x: Prefix) -> str | None:
    """Whether a text after this prompt is within a region of reasoning, or may open one."""
    if not any(_THOUGHT in template for template in lm.tokenizer.templates.values()):
        return None
    end = b"".join(lm.vocab[t] or lm.vocab.name(t).encode() for t in x.tail(16)).rstrip()
    return "inside" if end.endswith(_THINK.encode()) else None if end.endswith(_THOUGHT.encode()) else "may"


def _thought(guide: Guide, thinks: str | None, engine: Engine) -> Guide:
    """Reasoning, and then what the guide says; where the marks of reasoning are special tokens, by these."""
    limits, marks = engine.limits.guide, special_marks(engine.lm.vocab).values()
    if _THOUGHT in marks:
        blank = constraints.choices(["", "\n", "\n\n"], limits=limits)
        region = constraints.regex("(?s:.*)", limits=limits) + constraints.token(_THOUGHT) + blank + guide
        opening: Guide = constraints.token(_THINK) if _THINK in marks else constraints.choices([_THINK], limits=limits)
    else:
        end = constraints.choices([_THOUGHT, _THOUGHT + "\n", _THOUGHT + "\n\n"], limits=limits)
        region = constraints.avoids(_THOUGHT) + end + guide
        opening = constraints.choices([_THINK], limits=limits)
    return region if thinks == "inside" else (opening + region) | guide
