"""What a request asks for besides its prompt, checked before any model runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from espalier import shaping, stop
from espalier.constraints.guide import Guide
from espalier.drafting.draft import Drafter
from espalier.errors import expect, require
from espalier.rng import Rng
from espalier.scorer import Scorer
from espalier.token_constraint import TokenConstraint, restricts
from espalier.verification.verifier import Verifier

_WHOLE = ("max_tokens", "n", "seed", "top_k")
_NUMBERS = ("max_seconds", "temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class Options:
    """The parameters of `generate`; the defaults are greedy decoding of at most 256 tokens.

    `temperature` 0 is greedy; `seed` None is a fresh one. `schema`, `regex`, `grammar`, `choices` and `constraint`
    (a guide) exclude each other. `drafter` is a drafter, the name of one ("auto", "lookup", …) or None for plain decoding;
    left out it is "auto" for models whose rows do not depend on what else is in a pass, else None. With `heal` a prompt that
    ends inside a token is continued as if it had not (`espalier.constraints.heal`). `template_args` are variables of the chat
    template, `continue_final` goes on with the last message (left out: where it is the assistant's), `special_in_text` reads
    names of special tokens in messages as these tokens. Raises `InvalidInput`
    for impossible values.

    >>> Options(temperature=0.7, top_p=0.9).temperature
    0.7
    """

    max_tokens: int = 256
    max_seconds: float | None = None
    stop: str | Sequence[str] | None = ()
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    n: int = 1
    schema: Any = None
    regex: str | None = None
    grammar: str | None = None
    choices: Sequence[str] | None = None
    constraint: Guide | TokenConstraint | None = None
    drafter: Drafter | str | None = "default"
    verifier: Verifier | None = None
    heal: bool = False
    template_args: Mapping[str, Any] | None = None
    continue_final: bool | None = None
    special_in_text: bool = False

    def __post_init__(self) -> None:
        self._check_kinds()
        require(self.n >= 1, f"n={self.n}: ask for at least one completion")
        require(self.max_tokens >= 1, f"max_tokens={self.max_tokens}: at least one token must be allowed; try 64")
        given = [name for name in ("schema", "regex", "grammar", "choices", "constraint") if getattr(self, name) is not None]
        require(
            len(given) <= 1, f"{' and '.join(given)}: a request has one constraint; combine guides with & and pass constraint="
        )
        require(
            self.verifier is None or self.drafter is not None,
            "verifier= was given with drafter=None, so there is nothing to verify; leave one of them out",
        )
        require(
            self.verifier is None or self.verifier.guarantee != "greedy" or self.temperature == 0,
            f"{type(self.verifier).__name__} takes the most probable token at every step, so temperature={self.temperature} "
            "would have no effect; write temperature=0, or verifier=es.verification.SampleMatch()",
        )
        if isinstance(self.drafter, str) and self.drafter != "default":
            from espalier.drafting.catalogue import NAMED

            known = f"use one of {', '.join(NAMED)}, None, or a drafter such as es.drafting.PromptLookup()"
            require(self.drafter in NAMED, f"drafter={self.drafter!r}: {known}")
        self.shapers()
        if self.max_seconds is not None:
            stop.deadline(self.max_seconds)

    def _check_kinds(self) -> None:
        for name in (*_WHOLE, *_NUMBERS):
            value, optional = getattr(self, name), type(self).__dataclass_fields__[name].default is None
            if value is None and optional:
                continue
            hint = ("a whole number" if name in _WHOLE else "a number") + (" or None" if optional else "")
            expect(str(value) if isinstance(value, bool) else value, Integral if name in _WHOLE else Real, name, hint)
        expect(self.template_args, (Mapping, type(None)), "template_args", "a mapping, such as {'enable_thinking': False}")
        expect(self.continue_final, (bool, type(None)), "continue_final", "True, False or None")
        expect(self.special_in_text, bool, "special_in_text", "True or False")
        expect(self.heal, bool, "heal", "True or False")
        guide = "a guide, such as es.regex('[a-z]+') & es.regex('.{3}'); for one pattern write regex='[a-z]+'"
        if not restricts(self.constraint):
            expect(self.constraint, type(None), "constraint", guide)
        expect(self.drafter, (Drafter, str, type(None)), "drafter", "a name, None, or a drafter: es.drafting.PromptLookup()")
        expect(self.verifier, (Verifier, type(None)), "verifier", "a verifier, such as es.verification.SampleMatch()")

    def template(self) -> dict[str, Any]:
        """What the chat template is given besides the messages."""
        return {name: getattr(self, name) for name in ("template_args", "continue_final", "special_in_text")}

    def shapers(self) -> tuple[list[Any], list[Any]]:
        """The shapers before and after the constraint."""
        before: list[Any] = []
        if self.repetition_penalty != 1:
            before.append(shaping.repetition(self.repetition_penalty))
        if self.presence_penalty:
            before.append(shaping.presence(self.presence_penalty))
        if self.frequency_penalty:
            before.append(shaping.frequency(self.frequency_penalty))
        if self.logit_bias:
            before.append(shaping.bias(self.logit_bias))
        after: list[Any] = [shaping.temperature(self.temperature)] if self.temperature != 1 else []
        after += [shaping.top_k(self.top_k)] if self.top_k is not None else []
        after += [shaping.top_p(self.top_p)] if self.top_p is not None else []
        after += [shaping.min_p(self.min_p)] if self.min_p is not None else []
        return before, after

    def guide(self) -> Guide | TokenConstraint | None:
        """The guide that the request names, or None."""
        from espalier import constraints

        if self.schema is not None:
            return constraints.json_schema(self.schema, numbers="plain")
        if self.regex is not None:
            return constraints.regex(self.regex)
        if self.grammar is not None:
            return constraints.cfg(self.grammar)
        if self.choices is not None:
            return constraints.choices(self.choices)
        return self.constraint

    def scorer(self, model: Scorer, guide: Guide | TokenConstraint | None) -> Scorer:
        """model | logit shapers * guide | temperature | truncation."""
        before, after = self.shapers()
        for shaper in before:
            model = model | shaper
        if guide is not None:
            model = model * guide
        for shaper in after:
            model = model | shaper
        return model

    def rngs(self) -> list[Rng]:
        """One source of randomness per completion; the i-th depends on the seed and i alone."""
        seed = secrets.randbits(63) if self.seed is None else self.seed
        require(seed >= 0, f"seed={seed}: a seed is a whole number that is not negative; try seed=0")
        return [Rng(np.random.SeedSequence(seed, spawn_key=(i,) if i else ())) for i in range(self.n)]
