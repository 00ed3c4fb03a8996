"""All options of a request, flat; checked before any model runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from espalier import catalogue, shaping, stop
from espalier.constraints.guide import Guide, Limits
from espalier.constraints.schema.tool_forms import told
from espalier.decoders.decoder import Decoding
from espalier.drafting.draft import Drafter
from espalier.errors import InvalidInput, expect, require
from espalier.requests.meter import WithScorer
from espalier.requests.option_groups import Constraining, Method, Sampling, Stopping
from espalier.requests.tool_use import check_tools
from espalier.rng import Rng
from espalier.scorer import Scorer
from espalier.shaper import Shaper, Stage, stage_of
from espalier.token_constraint import TokenConstraint, restricts
from espalier.verification.verifier import Verifier

if TYPE_CHECKING:
    from espalier.lm import LanguageModel

_WHOLE = ("max_tokens", "min_tokens", "n", "seed", "top_k", "logprobs")
_NUMBERS = ("max_seconds", "temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
_GUIDES = ("schema", "regex", "grammar", "choices", "constraint")
GROUPS = {"sampling": Sampling, "stopping": Stopping, "constraining": Constraining, "method": Method}


@dataclass(frozen=True, kw_only=True)
class Options(Sampling, Stopping, Constraining, Method):
    """All options of `generate`, flat; the defaults are greedy decoding of at most 256 tokens.

    Raises `InvalidInput` for impossible values.

    >>> Options(temperature=0.7, top_p=0.9).temperature
    0.7
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_kinds()
        require(self.n >= 1, f"n={self.n}: ask for at least one completion")
        require(self.max_tokens >= 0, f"max_tokens={self.max_tokens}: at least one token must be allowed; try 64")
        require(
            self.max_tokens > 0 or self.logprobs is not None,
            "max_tokens=0: nothing would be written; try 64, or ask for the scores of the prompt with logprobs=0",
        )
        require(
            0 <= self.min_tokens <= max(self.max_tokens, 1),
            f"min_tokens={self.min_tokens}: it lies between 0 and max_tokens={self.max_tokens}",
        )
        require(
            self.logprobs is None or self.logprobs >= 0, f"logprobs={self.logprobs}: how many of the best tokens, 0 or more"
        )
        given = [name for name in _GUIDES if getattr(self, name) is not None]
        require(
            len(given) <= 1, f"{' and '.join(given)}: a request has one constraint; combine guides with & and pass constraint="
        )
        require(
            not (self.ignore_eos and given),
            f"ignore_eos was given with {''.join(given)}: a text under a constraint ends where the constraint lets it end",
        )
        require(
            not self.in_time or bool(given),
            f"in_time={self.in_time!r} finishes a text under schema=, regex=, grammar=, choices= or constraint=",
        )
        check_tools(self.tools, self.tool_choice, given)
        self._check_method()
        self.shapers_by_stage()
        if self.max_seconds is not None:
            stop.deadline(self.max_seconds)

    def _check_method(self) -> None:
        own = self.decoder is not None
        require(
            not own or (self.drafter in ("default", None) and self.verifier is None),
            "decoder= was given with drafter= or verifier=, which a decoder brings itself: "
            "decoder=es.decoders.Speculate(drafter, verifier)",
        )
        require(
            self.verifier is None or self.drafter is not None,
            "verifier= was given with drafter=None, so there is nothing to verify; leave one of them out",
        )
        if isinstance(self.drafter, str) and self.drafter != "default":
            catalogue.find("drafter", self.drafter.partition(":")[0])
        if isinstance(self.decoder, str):
            object.__setattr__(self, "decoder", catalogue.parse("decoder", self.decoder))
        if isinstance(self.verifier, str):
            known = catalogue.names("verifier")
            hint = f"a verifier, such as es.verification.SampleMatch(), or the name of one: {', '.join(known)}"
            require(self.verifier.partition(":")[0] in known, f"verifier={self.verifier!r}: expected {hint}")
            object.__setattr__(self, "verifier", catalogue.parse("verifier", self.verifier))
        require(
            not isinstance(self.verifier, Verifier) or self.verifier.guarantee != "greedy" or self.greedy,
            f"{type(self.verifier).__name__} takes the most probable token at every step, so temperature={self.temperature} "
            "would have no effect; write temperature=0, or verifier=es.verification.SampleMatch()",
        )

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is taken at every step."""
        if self.temperature is not None:
            return self.temperature == 0
        # it ranks, or samples, texts by the model's own law
        searches = getattr(self.decoder, "many", False) or getattr(self.decoder, "samples", False)
        return not searches and (self.scorer is None or self.scorer.stage < Stage.TEMPERATURE)

    def _check_kinds(self) -> None:
        defaults = {field.name: field.default for field in fields(self)}
        for name in (*_WHOLE, *_NUMBERS):
            value, optional = getattr(self, name), defaults[name] is None
            if value is None and optional:
                continue
            kind, said = (Integral, "a whole number") if name in _WHOLE else (Real, "a number")
            expect(str(value) if isinstance(value, bool) else value, kind, name, said + (" or None" if optional else ""))
        expect(self.cache_salt, (str, type(None)), "cache_salt", "a text")
        expect(self.template_args, (Mapping, type(None)), "template_args", "a mapping, such as {'enable_thinking': False}")
        if not (isinstance(self.in_time, str) and self.in_time == "try"):
            expect(self.in_time, (bool, type(None)), "in_time", 'True, False, "try" or None')
        expect(self.continue_final, (bool, type(None)), "continue_final", "True, False or None")
        for name in ("heal", "ignore_eos", "include_stop", "special_in_text"):
            expect(getattr(self, name), bool, name, "True or False")
        guide = "a guide, such as es.regex('[a-z]+') & es.regex('.{3}'); for one pattern write regex='[a-z]+'"
        if self.constraint is not None and not restricts(self.constraint):
            expect(self.constraint, Guide, "constraint", guide)
        expect(self.drafter, (Drafter, str, type(None)), "drafter", "a name, None, or a drafter: es.drafting.PromptLookup()")
        expect(self.verifier, (Verifier, str, type(None)), "verifier", "a verifier, such as es.verification.SampleMatch()")
        expect(self.decoder, (str, Decoding, type(None)), "decoder", "a decoder, such as es.decoders.Beam(8), or its name")
        expect(
            self.scorer, (Scorer, type(None)), "scorer", "a scorer built from lm.scorer, such as lm.scorer | es.bias({7: 1})"
        )
        for name in ("shapers", "banned"):
            given = getattr(self, name)
            expect(
                given, (list, tuple), name, f"a list: {name}=[{'...' if name == 'banned' else chr(34) + 'top_p:0.9' + chr(34)}]"
            )
        for name, tokens in (("allowed_tokens", self.allowed_tokens or ()), ("stop_tokens", self.stop_tokens)):
            expect(tokens, (list, tuple, range), name, "token ids, such as [13, 198]")
            for token in tokens:
                expect(token, Integral, f"a token of {name}", "the id of a token")

    def template(self) -> dict[str, Any]:
        """What the chat template is given besides the messages."""
        own = {name: getattr(self, name) for name in ("template_args", "continue_final", "special_in_text")}
        return own if self.tools is None or self.tool_choice == "none" else own | {"tools": told(self.tools)}

    def shapers_by_stage(self) -> list[Shaper]:
        """All shapers of the request in the order of their stages; within a stage in the order of the options."""
        found: list[Shaper] = []
        if self.repetition_penalty != 1:
            found.append(shaping.repetition(self.repetition_penalty))
        if self.presence_penalty:
            found.append(shaping.presence(self.presence_penalty))
        if self.frequency_penalty:
            found.append(shaping.frequency(self.frequency_penalty))
        if self.logit_bias:
            found.append(shaping.bias(self.logit_bias))
        if self.allowed_tokens is not None:
            found.append(shaping.only(self.allowed_tokens))
        if ids := [token for token in self.banned if not isinstance(token, str)]:
            found.append(shaping.bias(dict.fromkeys(ids, -np.inf)))
        if self.greedy or self.temperature not in (None, 1):
            found.append(shaping.temperature(0.0 if self.temperature is None else self.temperature))
        found += [shaping.top_k(self.top_k)] if self.top_k is not None else []
        found += [shaping.top_p(self.top_p)] if self.top_p is not None else []
        found += [shaping.min_p(self.min_p)] if self.min_p is not None else []
        for each in self.shapers:
            if isinstance(each, str) and catalogue.find("shaper", each.partition(":")[0].strip()).needs:
                continue
            shaper = catalogue.parse("shaper", each) if isinstance(each, str) else each
            expect(shaper, Shaper, "one of shapers", "a shaper such as es.top_k(40), or the name of one: 'top_k:40'")
            found.append(shaper)
        return sorted(found, key=stage_of)

    def built_on(self, scorer: Scorer, lm: LanguageModel, **objects: Any) -> Scorer:
        """The scorer under those of `shapers` that are built on one, given by name: "contrastive_search:4, 0.6"."""
        for each in self.shapers:
            if isinstance(each, str) and catalogue.find("shaper", each.partition(":")[0].strip()).needs:
                made = catalogue.parse("shaper", each, scorer, lm=WithScorer(scorer, lm), **objects)
                scorer = scorer | made if isinstance(made, Shaper) else made
        return scorer

    def guide(self, limits: Limits | None = None) -> Guide | TokenConstraint | None:
        """The guide that the request names, made within `limits`, with banned texts taken out of it, or None."""
        from espalier import constraints

        guide = self._named_guide(limits)
        if texts := [text for text in self.banned if isinstance(text, str)]:
            avoided = constraints.avoids(*texts)
            if guide is None:
                return avoided
            if not isinstance(guide, Guide):
                raise InvalidInput("banned texts were given with a constraint over tokens; ban token ids instead")
            both: Guide = guide & avoided
            return both
        return guide

    def _named_guide(self, limits: Limits | None) -> Guide | TokenConstraint | None:
        from espalier import constraints

        if self.schema is not None:
            return constraints.json_schema(self.schema, numbers="plain", limits=limits)
        if self.regex is not None:
            return constraints.regex(self.regex, limits=limits)
        if self.grammar is not None:
            return constraints.cfg(self.grammar, limits=limits)
        if self.choices is not None:
            return constraints.choices(self.choices, limits=limits)
        return self.constraint

    def rngs(self) -> list[Rng]:
        """One source of randomness per completion; the i-th depends on the seed and i alone."""
        seed = secrets.randbits(63) if self.seed is None else self.seed
        require(seed >= 0, f"seed={seed}: a seed is a whole number that is not negative; try seed=0")
        return [Rng(np.random.SeedSequence(seed, spawn_key=(i,) if i else ())) for i in range(self.n)]
