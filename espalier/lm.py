"""A language model as people use it: text in, text out, with everything between on the one loop."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from espalier import stop as stops
from espalier.completion import Completion, Meter, Stats, TimedDrafter
from espalier.constraints.guide import Guide
from espalier.constraints.heal import heal
from espalier.constraints.schema.schema import Schema
from espalier.decoders.sample import sample, speculate
from espalier.drafting.catalogue import named
from espalier.drafting.draft import Drafter
from espalier.drafting.guided.forced_tokens import Outlook
from espalier.errors import ContextOverflow, InvalidInput, expect, require
from espalier.options import Options
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder, Loop, Trace
from espalier.scorer import Model, Scorer
from espalier.stop import Stop
from espalier.text.detokenize import Detokenizer
from espalier.token_constraint import TokenConstraint
from espalier.torch_threads import one_thread
from espalier.verification import SampleMatch, check_pair

if TYPE_CHECKING:
    from espalier.text.tokenizer import Tokenizer

_PROMPTS = "a text, es.raw(text), a list of messages such as [{'role': 'user', 'content': 'Hi'}], or a Prefix"
Prompt: TypeAlias = "str | raw | Sequence[Mapping[str, Any]] | Prefix"


class raw(str):
    """A prompt that the model goes on with as it is: no chat template is applied.

    >>> raw("Once upon") == "Once upon", isinstance(raw("Once upon"), str)
    (True, True)
    """

    __slots__ = ()


@dataclass(slots=True, eq=False)
class Request:
    """One completion on its way: its decoder, and what has been kept and shown of it so far."""

    decoder: Decoder[Prefix]
    meter: Meter
    stop: Stop
    strings: stops.strings | None
    stats: Stats
    guide: Guide | TokenConstraint | None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    settled: bytes = b""
    shown: int = 0
    started: float = field(default_factory=time.perf_counter)


class LanguageModel:
    """A model, its tokenizer and its chat template.

    `generate` returns a completion, `stream` yields text as it settles; `scorer` and `prompt` are the parts for decoders of
    your own: `es.run(es.sample(lm.scorer | es.temperature(0.7), lm.prompt("Hi"), stop, es.Rng(0)))`.

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> print(lm.generate("Name three moons of Jupiter.", max_tokens=40))  # doctest: +SKIP
    """

    model: Model
    tokenizer: Tokenizer

    def __init__(self, model: Model, tokenizer: Tokenizer, name: str = "model") -> None:
        require(
            model.vocab_size == tokenizer.vocab.size,
            f"{name}: the model has {model.vocab_size} tokens but its tokenizer {tokenizer.vocab.size}; they do not match",
        )
        self.model, self.tokenizer, self.vocab, self.name = model, tokenizer, tokenizer.vocab, name
        model.vocab = tokenizer.vocab
        self._drafters, self._choosing = dict[str, Drafter](), Lock()

    @property
    def scorer(self) -> Model:
        """The model as a scorer."""
        return self.model

    @property
    def context(self) -> int:
        """How many tokens the model can look at, prompt and output together."""
        return self.model.context

    def prompt(
        self,
        prompt: Prompt,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_args: Mapping[str, Any] | None = None,
        continue_final: bool | None = None,
        special_in_text: bool = False,
    ) -> Prefix:
        """The prefix of a prompt: a text (as a user's message if the model has a chat template), `es.raw(text)`, or messages.

        `tools` and `template_args` are for the template. Messages that end with one of the assistant are continued, unless
        `continue_final` is False. Names of special tokens are only text, unless `special_in_text`, or in `es.raw`.

        Raises `InvalidInput` for an empty prompt and `ContextOverflow` for one that leaves no room for output.
        """
        expect(prompt, (str, Prefix, Sequence), "the prompt", _PROMPTS)
        if isinstance(prompt, Prefix):
            x = prompt
        elif isinstance(prompt, raw):
            require(prompt != "", "the prompt is empty; a model needs something to go on from")
            x = Prefix(self.tokenizer.encode(str(prompt), special=True))
        elif isinstance(prompt, str):
            require(prompt.strip() != "", "the prompt is empty; write what the model should answer")
            x = Prefix(self.tokenizer.chat(prompt, tools=tools, template_args=template_args, special_in_text=special_in_text))
        else:
            expect(prompt, (list, tuple), "the prompt", _PROMPTS)
            require(len(prompt) > 0, "the list of messages is empty; write [{'role': 'user', 'content': …}]")
            x = Prefix(
                self.tokenizer.chat(
                    list(prompt),
                    tools=tools,
                    template_args=template_args,
                    continue_final=_goes_on(prompt[-1]) if continue_final is None else continue_final,
                    special_in_text=special_in_text,
                )
            )
        require(len(x) > 0, "the prompt has no tokens; a model needs something to go on from")
        if len(x) >= self.context:
            raise ContextOverflow(
                f"the prompt has {len(x)} tokens, but {self.name} sees at most {self.context}, output included; shorten it"
            )
        return x

    def generate(self, prompt: Prompt, **options: Any) -> Any:
        """The completion of a prompt (see `Options` for the parameters); with `schema=`, the parsed and validated value.

        With n > 1 the completion holds all of them: `out[i]`, `for c in out`. The i-th depends on the seed and i alone, not
        on what else runs. Raises `InvalidInput` before any model runs, and `InvalidInput` if `schema=` was given but the text
        could not be completed within `max_tokens` (never a value that does not satisfy the schema).
        """
        completion = self.complete(prompt, **options)
        return completion if options.get("schema") is None else completion.value()

    def complete(self, prompt: Prompt, **options: Any) -> Completion:
        """The completion of a prompt, also under a schema: its value is `.parsed`, None if the text is not finished."""
        return self.complete_all([prompt], **options)[0]

    def complete_all(self, prompts: Sequence[Prompt], *, trace: Trace | None = None, **options: Any) -> list[Completion]:
        """The completions of several prompts, decoded side by side in shared passes; each is what it would be alone."""
        expect(prompts, (list, tuple), "prompts", "a list of prompts; for one there is lm.complete(prompt)")
        wanted = _options(options)
        guide = wanted.guide()
        asked = [self.prompt(prompt, **wanted.template()) for prompt in prompts]
        requests = [self.request(x, wanted, rng, guide) for x in asked for rng in wanted.rngs()]
        loop = Loop(trace)
        numbers = {loop.add(request.decoder): request for request in requests}
        self._drive(loop, numbers)
        done = [self._completion(request, loop.results[number], wanted) for number, request in numbers.items()]
        groups = [done[at : at + wanted.n] for at in range(0, len(done), wanted.n)]
        for group in groups:
            for completion in group:
                completion.siblings = group
        return [group[0] for group in groups]

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[str]:
        """The text of one completion in pieces, each as soon as it cannot change any more.

        Guarantee: the pieces joined are the text of `generate`; no piece splits a character, shows a part of a stop string,
        or is taken back.
        """
        wanted = _options(options)
        require(wanted.n == 1, f"n={wanted.n}: a stream is one text; use generate for several")
        [rng] = wanted.rngs()
        request = self.request(self.prompt(prompt, **wanted.template()), wanted, rng, wanted.guide())
        return self._stream(request)

    def _stream(self, request: Request) -> Iterator[str]:
        loop = Loop()
        number = loop.add(request.decoder)
        text = Detokenizer(self.vocab)
        hold = request.guide is not None and request.guide.exactness != "exact"
        try:
            while loop or loop.errors:
                if loop.errors:  # a decoder may refuse what it was given before it asks anything
                    raise loop.errors[number]
                loop.turn()
                self._settle(loop, {number: request})
                if loop.errors:
                    continue
                if loop and not hold and (piece := text.feed(self._show(request, final=False))):
                    yield piece
            if piece := text.feed(self._show(request, final=True)) + text.finish():
                yield piece
        finally:
            loop.cancel(number)

    def request(self, x: Prefix, wanted: Options, rng: Rng, guide: Guide | TokenConstraint | None) -> Request:
        """A decoder for one completion of x, with the meters that read it."""
        healed = b""
        if wanted.heal:
            tokens, guide, healed = heal(x.ids(), self.vocab, guide)
            x = Prefix(tokens) if healed else x
        stats = Stats(prompt_tokens=len(x))
        meter = Meter(self.model, stats)
        scorer: Scorer = wanted.scorer(meter, guide)
        strings = stops.strings(wanted.stop, self.vocab) if wanted.stop not in (None, (), []) else None
        stop: Stop = stops.end(self.vocab.end)
        if strings is not None:
            stop = stop | strings
        stop = stop | stops.budget(min(wanted.max_tokens, self.context - len(x)))
        if wanted.max_seconds is not None:
            stop = stop | stops.deadline(wanted.max_seconds)
        drafter, verifier = self._drafter(wanted), wanted.verifier or SampleMatch()
        if drafter is not None:
            check_pair(drafter, verifier)
        if drafter is not None and isinstance(guide, Guide):  # what a constraint over tokens forces is not known
            drafter = drafter.under(Outlook(guide, self.vocab, self.tokenizer.encode))
        if drafter is None:
            decoder = sample(scorer, x, stop, rng)
        else:
            decoder = speculate(scorer, x, stop, TimedDrafter(drafter, stats), verifier, rng)
        return Request(decoder, meter, stop, strings, stats, guide, shown=len(healed))

    def _drafter(self, wanted: Options) -> Drafter | None:
        """The drafter of a request; one that is named is kept, so that it goes on learning from request to request."""
        name = wanted.drafter
        if name == "default":
            name = "auto" if self.model.invariant or wanted.verifier is not None else None
        if not isinstance(name, str):
            return name
        with self._choosing:
            if name not in self._drafters:
                self._drafters[name] = named(name, self)
            return self._drafters[name]

    def _drive(self, loop: Loop, requests: Mapping[int, Request]) -> None:
        while True:
            for error in loop.errors.values():  # a decoder may refuse what it was given before it asks anything
                for number in requests:
                    loop.cancel(number)
                raise error
            if not loop:
                return
            loop.turn()
            self._settle(loop, requests)

    def _settle(self, loop: Loop, requests: Mapping[int, Request]) -> None:
        """Books what was kept in this turn: tokens, their log-probabilities, their bytes."""
        now = time.perf_counter()
        with one_thread():
            self._book(loop, requests, now)
        for request in requests.values():
            request.meter.note()
        loop.kept.clear()

    def _book(self, loop: Loop, requests: Mapping[int, Request], now: float) -> None:
        for number, x in loop.kept:
            request = requests[number]
            if not request.tokens:
                request.stats.first_token_seconds = now - request.started
            depth = len(x) - len(x.origin)
            if depth <= len(request.tokens):  # the decoder backed up over a dead end
                del request.tokens[depth - 1 :], request.logprobs[depth - 1 :]
                request.settled = self.vocab.join(request.tokens)
            request.tokens.append(x.last)
            request.logprobs.append(request.meter.logp(x))
            request.settled += self.vocab.join([x.last])
            request.stats.seconds = now - request.started
            request.meter.emitted += 1

    def _show(self, request: Request, final: bool) -> bytes:
        """The bytes that may be shown now and were not shown yet."""
        text, until = request.settled, len(request.settled)
        if request.strings is not None:
            cut = request.strings.cut(text)
            until = cut if cut is not None else until if final else until - request.strings.held(text)
        new = text[request.shown : until]
        request.shown = max(request.shown, until)
        return new

    def _completion(self, request: Request, x: Prefix, wanted: Options) -> Completion:
        reason = request.stop(x) or "length"
        text = self._show(request, final=True).decode("utf-8", errors="replace")
        completion = Completion(text, request.tokens, request.logprobs, reason, request.stats)
        completion.whole = request.guide is None or (reason == "stop" and self._satisfies(request))
        if wanted.schema is not None and completion.whole:
            completion.read(getattr(request.guide, "schema", None) or Schema(wanted.schema))
        return completion

    def _satisfies(self, request: Request) -> bool:
        """Whether a text that was stopped is one that its constraint allows to end where it is shown to end."""
        if request.tokens[-1] in self.vocab.end or not isinstance(request.guide, Guide):
            return True
        return request.guide.matches(request.settled[: request.shown])


def _goes_on(message: Any) -> bool:
    """Whether a message is the beginning of an answer, which the model is to go on with."""
    return isinstance(message, Mapping) and message.get("role") == "assistant" and not message.get("tool_calls")


def _options(options: Mapping[str, Any]) -> Options:
    known = set(Options.__dataclass_fields__)
    for wrong in sorted(set(options) - known):
        close = difflib.get_close_matches(wrong, known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInput(f"unknown option {wrong}; {hint}there are: {', '.join(sorted(known))}")
    return Options(**options)
