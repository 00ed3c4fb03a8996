"""The four groups of options: how tokens are drawn, when a text ends, what it must be, how it is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass
from typing import Any, Literal

from espalier.constraints.guide import Guide
from espalier.decoders.decoder import Decoding
from espalier.drafting.draft import Drafter
from espalier.scorer import Scorer
from espalier.shaper import Shaper
from espalier.stop import Stop
from espalier.token_constraint import TokenConstraint
from espalier.verification.verifier import Verifier

_LISTS = frozenset(("stop", "stop_tokens", "allowed_tokens", "banned", "shapers", "choices", "tools"))


def once(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options; iterators, sets and views among the lists are read here, so that they can be read again.

    >>> once({"stop": iter(["a"]), "seed": 1})
    {'stop': ('a',), 'seed': 1}
    """
    gone = (Iterator, Set, ValuesView)
    return {name: tuple(given) if name in _LISTS and isinstance(given, gone) else given for name, given in options.items()}


class _ReadOnce:
    """Options whose lists are read when they are given."""

    def __post_init__(self) -> None:
        for name, given in once(vars(self)).items():
            object.__setattr__(self, name, given)


@dataclass(frozen=True)
class Sampling(_ReadOnce):
    """How tokens are drawn. `temperature` 0 is greedy; None is 0, unless `scorer` has a temperature of its own or a
    `decoder` that searches ranks texts by the model's own law.

    `shapers` are shapers or their names ("top_p:0.9"), each put where its stage belongs. `allowed_tokens` are the only
    ones that may be written, `banned` are texts or ids that may not. `scorer` takes the place of `lm.scorer`, from which it
    is built. The i-th of `n` texts depends on `seed` and i alone; `seed` None is a fresh one.

    >>> Sampling(temperature=0.7).top_p is None
    True
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    allowed_tokens: Sequence[int] | None = None
    banned: Sequence[str | int] = ()
    shapers: Sequence[Shaper | str] = ()
    scorer: Scorer | None = None
    seed: int | None = None
    n: int = 1


@dataclass(frozen=True)
class Stopping(_ReadOnce):
    """When a text ends. `stop` holds texts, conditions (`es.stop.…`) or both; the text ends before a stop string unless
    `include_stop`. No end token and no stop token comes before `min_tokens`; with `ignore_eos` end tokens do not end.

    >>> Stopping(max_tokens=8).min_tokens
    0
    """

    max_tokens: int = 256
    min_tokens: int = 0
    max_seconds: float | None = None
    stop: str | Stop | Sequence[str | Stop] | None = ()
    stop_tokens: Sequence[int] = ()
    ignore_eos: bool = False
    include_stop: bool = False


@dataclass(frozen=True)
class Constraining(_ReadOnce):
    """What the text must be. `schema`, `regex`, `grammar`, `choices` and `constraint` (a guide) exclude each other.

    `tools` (functions, or OpenAI's, MCP's, Anthropic's objects) may be called as `tool_choice` says: "auto", "required",
    "none" or a name.
    With `in_time` the text is finished within `max_tokens` (`es.constraints.within`); with "try", the default under `schema`
    and for calls that must be, it is cut off where no text is as short. With `heal` a prompt that ends inside a token is
    continued as if it had not. `template_args` are variables of the chat template, `continue_final` goes on with the last
    message (left out: where it is the assistant's), `special_in_text` reads names of special tokens in messages as these
    tokens. What the model has read of a request is shared with requests of the same `cache_salt` only.

    >>> Constraining(regex="[0-9]+").schema is None
    True
    """

    schema: Any = None
    regex: str | None = None
    grammar: str | None = None
    choices: Sequence[str] | None = None
    constraint: Guide | TokenConstraint | None = None
    heal: bool = False
    tools: Any = None
    tool_choice: str = "auto"
    cache_salt: str | None = None
    in_time: bool | Literal["try"] | None = None
    template_args: Mapping[str, Any] | None = None
    continue_final: bool | None = None
    special_in_text: bool = False


@dataclass(frozen=True)
class Method(_ReadOnce):
    """How the text is found. `decoder` is a decoder, `(scorer, x, stop, rng)` → finds, or its name ("beam:8").

    Without one it is speculation: `drafter` is a drafter, the name of one ("auto", "lookup", …) or None for plain decoding;
    left out it is "auto" for models whose rows do not depend on what else is in a pass, else None. `logprobs` = k gives the
    k best tokens with each token, under the model and under the law it was drawn from.

    >>> Method().drafter
    'default'
    """

    decoder: Decoding | str | None = None
    drafter: Drafter | str | None = "default"
    verifier: Verifier | str | None = None
    logprobs: int | None = None
