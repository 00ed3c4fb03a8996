"""A language model as people use it: text in, text out, with everything between on the one loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from espalier import catalogue
from espalier.decoders.decoder import Weighted
from espalier.drafting.draft import Drafter
from espalier.engine import Engine, run
from espalier.errors import ContextOverflow, LimitExceeded, expect, require
from espalier.models.executors.torch_threads import one_thread
from espalier.models.kv.prefix_cache import PrefixCache
from espalier.prefix import Prefix
from espalier.requests.completion import Completion, Piece, Stats
from espalier.requests.option_groups import once
from espalier.requests.options import Options
from espalier.requests.prompt import PROMPTS, Prompt, check_prompt, check_size, goes_on, raw
from espalier.requests.request import Flat, Request, read
from espalier.requests.running import Writing, begin
from espalier.requests.text_logprobs import scored
from espalier.requests.tool_use import warn_unseen
from espalier.run import Trace
from espalier.scheduler import Scheduler
from espalier.scorer import Model, Scorer
from espalier.text.detokenize import Detokenizer

if TYPE_CHECKING:
    from espalier.text.tokenizer import Tokenizer

T = TypeVar("T")


class LanguageModel:
    """A model, its tokenizer and its chat template.

    `generate` returns a completion, `stream` yields text as it settles; `scorer` and `prompt` are the parts for decoders of
    your own: `es.run(es.sample(lm.scorer | es.temperature(0.7), lm.prompt("Hi"), stop, es.Rng(0)))`. Any threads may share
    one: each text is what it is alone. `most_texts` bounds `n`, and may be set; `dtype` is the number format, for reason `why`.

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> print(lm.generate("Name three moons of Jupiter.", max_tokens=40))  # doctest: +SKIP
    """

    model: Model
    tokenizer: Tokenizer
    most_texts, dtype, why = 1024, "", ""

    def __init__(
        self, model: Model, tokenizer: Tokenizer, name: str = "model", cache_mb: float = 256, scheduler: Scheduler | None = None
    ) -> None:
        require(
            model.vocab_size == tokenizer.vocab.size,
            f"{name}: the model has {model.vocab_size} tokens but its tokenizer {tokenizer.vocab.size}; they do not match",
        )
        self.model, self.tokenizer, self.vocab, self.name = model, tokenizer, tokenizer.vocab, name
        model.vocab = tokenizer.vocab
        kv = getattr(model, "kv", None) if model.invariant else None  # other models' rows depend on how they were computed
        self.cache = PrefixCache(kv, cache_mb) if kv is not None and cache_mb else None
        self.scheduler, self._drafters, self._choosing = scheduler, dict[str, Drafter](), Lock()

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
        check_prompt(prompt)
        check_size(prompt, self.tokenizer, self.context)
        warn_unseen(self.tokenizer, tools, prompt)
        shown: dict[str, Any] = {"tools": tools, "template_args": template_args, "special_in_text": special_in_text}
        shown["context"] = self.context
        if isinstance(prompt, Prefix):
            x = prompt
        elif isinstance(prompt, raw):
            require(prompt != "", "the prompt is empty; a model needs something to go on from")
            x = Prefix(self.tokenizer.encode(str(prompt), special=True))
        elif isinstance(prompt, str):
            require(prompt.strip() != "", "the prompt is empty; write what the model should answer")
            x = Prefix(self.tokenizer.chat(prompt, **shown))
        else:
            expect(prompt, (list, tuple), "the prompt", PROMPTS)
            require(len(prompt) > 0, "the list of messages is empty; write [{'role': 'user', 'content': …}]")
            goes = goes_on(prompt[-1]) if continue_final is None else continue_final
            x = Prefix(self.tokenizer.chat(list(prompt), continue_final=goes, **shown))
        require(len(x) > 0, "the prompt has no tokens; a model needs something to go on from")
        if len(x) >= self.context:
            raise ContextOverflow(
                f"the prompt has {len(x)} tokens, but {self.name} sees at most {self.context}, output included; shorten it"
            )
        return x

    @overload
    def generate(self, prompt: Prompt, *, schema: type[T], **options: Unpack[Flat]) -> T: ...
    @overload
    def generate(self, prompt: Prompt, *, schema: type[T], n: int, **options: Unpack[Flat]) -> list[T]: ...
    @overload
    def generate(self, prompt: Prompt, *, schema: None = None, n: int = 1, **options: Unpack[Flat]) -> Completion: ...
    @overload
    def generate(self, prompt: Prompt, *, schema: Any, n: int = 1, **options: Unpack[Flat]) -> Any: ...
    def generate(self, prompt: Any, **options: Any) -> Any:
        """The completion of a prompt; with `schema=`, the parsed and validated value (a list of them for n > 1).

        The options are those of `Options`, flat or in groups (`sampling=`, `stopping=`, `constraining=`, `method=`). With
        n > 1 the completion holds all of them: `out[i]`, `for c in out`. The i-th depends on the seed and i alone, not on what
        else runs. Raises `InvalidInput` before any model runs, and `InvalidInput` if `schema=` was given but the text could
        not be completed within `max_tokens` (never a value that does not satisfy the schema).
        """
        completion = self.complete(prompt, **(options := once(options)))
        return completion if read(options).schema is None else completion.value()

    def complete(self, prompt: Prompt, **options: Any) -> Completion:
        """The completion of a prompt, also under a schema: its value is `.parsed`, None if the text is not finished."""
        return self.complete_all([prompt], **options)[0]

    def complete_all(
        self, prompts: Sequence[Prompt | Request], *, trace: Trace | None = None, **options: Any
    ) -> list[Completion]:
        """The completions of several prompts, decoded side by side in shared passes; each is what it would be alone.

        A `Request(prompt, seed=1, …)` has options of its own; the keywords are those of all others.
        """
        expect(prompts, (list, tuple), "prompts", "a list of prompts; for one there is lm.complete(prompt)")
        shared, engine, writings = read(options), Engine(trace, self.scheduler), dict[int, Writing]()
        guide = shared.guide()
        asked: list[tuple[Options, list[int]] | Completion] = []
        for each in prompts:
            own = isinstance(each, Request)
            wanted = each.over(options) if isinstance(each, Request) else shared
            x = self.prompt(each.prompt if isinstance(each, Request) else each, **wanted.template())
            if wanted.max_tokens == 0:
                asked.append(self._prompt_scores(x, wanted))
                continue
            begun = self._begin(x, wanted, wanted.guide() if own else guide)
            numbers = [engine.add(writing.decoder) for writing in begun]
            writings.update(zip(numbers, begun, strict=True))
            asked.append((wanted, numbers))
        results = self._drive(engine, writings)
        found: list[Completion] = []
        for item in asked:
            if isinstance(item, Completion):
                found.append(item)
                continue
            group = [c for number in item[1] for c in writings[number].completions(results[number])]
            for completion in group if len(group) > 1 else ():  # one alone would hold itself, and be freed late
                completion.siblings = group
            found.append(group[0])
        return found

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[Piece]:
        """The text of a completion in pieces, each as soon as it cannot change any more.

        Guarantee: the pieces joined are the text of `generate`; no piece splits a character, shows a part of a stop string,
        or is taken back. With n > 1 the pieces of all texts come as they settle; `piece.branch` says whose one is.
        """
        wanted = read(options)
        return self._stream(self._begin(self.prompt(prompt, **wanted.template()), wanted, wanted.guide()))

    def score(self, prompt: Prompt, continuation: Any, *, scorer: Scorer | None = None) -> Any:
        """The log-probabilities of a given continuation of a prompt, or of each of a list of them, in one packed pass.

        A continuation is a text or a list of token ids; its score is a `Scored` with `text`, `tokens`, `logprobs` and their
        sum `logprob`, under the model or under a `scorer` built from `lm.scorer`.

        >>> import espalier as es
        >>> lm = es.load()  # doctest: +SKIP
        >>> [s.logprob for s in lm.score(es.raw("2 + 2 ="), [" 4", " 5"])]  # doctest: +SKIP
        """
        several = isinstance(continuation, (list, tuple)) and not all(isinstance(t, Integral) for t in continuation)
        x = self.prompt(prompt)
        texts = [self._continuation(each) for each in (continuation if several else [continuation])]
        [found] = run(scored(self.scorer if scorer is None else scorer, x, texts, self.vocab))
        return found if several else found[0]

    def _prompt_scores(self, x: Prefix, wanted: Options) -> Completion:
        """A completion that writes nothing and knows the log-probabilities of the prompt's tokens behind the first."""
        ids = x.ids()
        scorer = self.scorer if wanted.scorer is None else wanted.scorer
        [[found]] = run(scored(scorer, Prefix(ids[:1]), [ids[1:]], self.vocab))
        stats = Stats(prompt_tokens=len(ids), passes=1)
        return Completion("", [], [], "length", stats, prompt_logprobs=list(found.logprobs))

    def _continuation(self, given: Any) -> list[int]:
        if isinstance(given, str):
            require(given != "", "the continuation is empty; there is nothing to score")
            return self.tokenizer.encode(given)
        expect(given, (list, tuple), "the continuation", "a text or a list of token ids")
        require(bool(given), "the continuation is empty; there is nothing to score")
        return [int(token) for token in given]

    def _begin(self, x: Prefix, wanted: Options, guide: Any) -> list[Writing]:
        """The decoders of a request: one per text, or one for all of them where the decoder finds many."""
        if wanted.n > self.most_texts:
            raise LimitExceeded(
                f"n={wanted.n}: at most {self.most_texts} texts of one prompt are written at once; call again with other "
                "seeds, or set lm.most_texts"
            )
        writings = []
        for rng in wanted.rngs():
            writings.append(begin(self, x, wanted, rng, guide))
            if writings[-1].many:
                break
        return writings

    def _stream(self, writings: Sequence[Writing]) -> Iterator[Piece]:
        engine = Engine(scheduler=self.scheduler)
        numbers = {engine.add(writing.decoder): writing for writing in writings}
        texts = {number: Detokenizer(self.vocab) for number in numbers}
        open_ = set(numbers)
        try:
            while open_:
                self._step(engine, numbers)
                for index, (number, writing) in enumerate(numbers.items()):
                    if number in open_ and engine.over(number):
                        open_.remove(number)
                        found = engine.result(number)
                        self._remember(writing, found)
                        writing.settle(found[0].prefix)
                        text = texts[number].feed(writing.show(final=True)) + texts[number].finish()
                    elif number in open_ and not writing.holds:
                        text = texts[number].feed(writing.show(final=False))
                    else:
                        text = ""
                    if text:
                        yield Piece(text, index)
        finally:
            for number in numbers:
                engine.cancel(number)

    def _remember(self, writing: Writing, found: Sequence[Weighted]) -> None:
        """Keeps what the model has read of a text for requests that begin alike."""
        if self.cache is not None:
            for each in found:
                self.cache.keep(each.prefix, writing.options.cache_salt)

    def drafter(self, name: Drafter | str | None, verified: bool = False) -> Drafter | None:
        """The drafter of this name; it is kept, so that it goes on learning from request to request. "default" is "auto"
        where drafts can change no bit of a text (or a verifier was named), else None."""
        if name == "default":
            name = "auto" if self.model.invariant or verified else None
        if not isinstance(name, str):
            return name
        with self._choosing:
            if name not in self._drafters:
                self._drafters[name] = catalogue.parse("drafter", name, self.model)
            return self._drafters[name]

    def _drive(self, engine: Engine, writings: Mapping[int, Writing]) -> dict[int, Any]:
        """What all decoders return; where one raises, the others are closed."""
        try:
            while self._step(engine, writings):
                pass
            results = {number: engine.result(number) for number in writings}
            for number, writing in writings.items():
                self._remember(writing, results[number])
            return results
        except KeyboardInterrupt:
            return {n: engine.result(n) if engine.over(n) else each.interrupted() for n, each in writings.items()}
        finally:
            for number in writings:
                engine.cancel(number)

    def _step(self, engine: Engine, writings: Mapping[int, Writing]) -> int:
        """How many decoders have not ended after one more step; books what was kept in it."""
        left, now = engine.step(), time.perf_counter()
        for error in engine.errors.values():
            raise error
        with one_thread():
            for number, writing in writings.items():
                for keep in engine.kept(number):
                    if keep.branch == 0:
                        writing.keep(keep.prefix, now)
        for writing in writings.values():
            writing.meter.note()
        return left
