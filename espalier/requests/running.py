"""One request on its way: its scorer and decoder, the meters that read them, and what has been kept and shown so far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from espalier import stop as stops
from espalier.constraints.guide import Guide
from espalier.constraints.heal import heal
from espalier.constraints.schema.schema import Schema
from espalier.constraints.within import InTime, within
from espalier.decoders.decoder import Decoding, Weighted, finds
from espalier.decoders.decoder_objects import Sample, Speculate
from espalier.drafting.guided.forced_tokens import Outlook
from espalier.engine import run
from espalier.errors import InvalidInput, RefusedValue, expect, require
from espalier.prefix import Prefix
from espalier.requests.completion import Completion, Stats
from espalier.requests.meter import LawMeter, LogProb, Meter, TimedDrafter
from espalier.requests.options import Options
from espalier.requests.tool_use import calls_guide, format_of, written
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Scorer
from espalier.shaper import Stage
from espalier.shaping import not_before
from espalier.stop import Stop
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint
from espalier.verification import SampleMatch, Verifier

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


@dataclass(slots=True, eq=False)
class Writing:
    """A request on its way. `decoder` returns what it found; `tokens` and `settled` are what was kept of the first text."""

    decoder: Decoder[list[Weighted]]
    options: Options
    vocab: Vocab
    meter: Meter
    law: LawMeter | None
    ending: Ending
    stats: Stats
    guide: Guide | TokenConstraint | None
    origin: Prefix
    timed: InTime | None
    many: bool  # one run finds all texts of the request
    calls: str | None = None  # the format of calls of tools
    shown: int = 0
    tokens: list[int] = field(default_factory=list)
    settled: bytes = b""
    started: float = field(default_factory=time.perf_counter)

    def keep(self, x: Prefix, now: float) -> None:
        """Books a prefix that was kept: its tokens, their log-probabilities, their bytes."""
        if self.stats.first_token_seconds == 0.0:
            self.stats.first_token_seconds = now - self.started
        before, new = len(x) - len(x.origin) - len(x.tokens), list(x.tokens)
        if before != len(self.tokens):  # the decoder backed up, or keeps several tokens at once
            self.tokens = x.written()[:before]
            self.settled = self.vocab.join(self.tokens)
        self.tokens += new
        self.settled += self.vocab.join(new)
        self.meter.book(x)
        if self.law is not None:
            self.law.book(x)
        self.stats.seconds = now - self.started
        self.meter.emitted += len(new)

    def show(self, final: bool) -> bytes:
        """The bytes of the first text that may be shown now and were not shown yet."""
        until = self.ending.cut(self.tokens, self.settled) if final else self.ending.sure(self.tokens, self.settled)
        new = self.settled[self.shown : until]
        self.shown = max(self.shown, until)
        return new

    def settle(self, x: Prefix) -> None:
        """Takes the final text in: a decoder need not have kept all of it, but may not take back what was shown."""
        self.tokens = x.since(self.origin)
        settled = self.vocab.join(self.tokens)
        require(
            settled[: self.shown] == self.settled[: self.shown],
            "a decoder kept a prefix that is not part of its first result, so what was streamed is not the text; "
            "yield Keep only for what has settled, or Keep(x, branch) for other texts",
        )
        self.settled = settled

    def interrupted(self) -> list[Weighted]:
        """What the decoder has found so far, if it is one that can say (searches); else raises `KeyboardInterrupt`."""

        def rest(asked: Any) -> Decoder[list[Weighted]]:  # it may need the rows of what it has found
            while True:
                try:
                    asked = self.decoder.send((yield asked))
                except StopIteration as done:
                    found: list[Weighted] = done.value
                    return found

        try:
            asked = self.decoder.throw(KeyboardInterrupt())
        except StopIteration as done:
            found: list[Weighted] = done.value
        else:
            [found] = run(rest(asked))
        return found

    @property
    def holds(self) -> bool:
        """Whether nothing may be shown before the end: the text may still be taken back."""
        return self.guide is not None and self.guide.exactness != "exact"

    def completions(self, found: Sequence[Weighted]) -> list[Completion]:
        """What was found, as completions; they share the statistics."""
        if not self.stats.tokens:  # a decoder that kept nothing on the way
            self.stats.tokens = sum(len(each.prefix.since(self.origin)) for each in found)
            self.stats.seconds = time.perf_counter() - self.started
        return [self._completion(each) for each in found]

    def _completion(self, found: Weighted) -> Completion:
        x = found.prefix
        tokens, reason = x.since(self.origin), self.ending(x) or "length"
        settled = self.vocab.join(tokens)
        until = self.ending.cut(tokens, settled)
        text = settled[self.ending.healed : until].decode("utf-8", errors="replace")
        completion = Completion(text, tokens, self._logprobs(x), reason, self.stats, log_weight=found.log_weight)
        completion.whole = self.guide is None or (reason == "stop" and self._satisfies(tokens, settled[:until]))
        completion.hurried = self.timed is not None and self.timed.hurried(tokens)
        if self.calls is not None:
            try:
                completion.tool_calls = written(self.options.tools, tokens, self.vocab, self.calls)
            except RefusedValue as error:
                error.completion, completion.error = completion, error
        if self.options.schema is not None and completion.whole:
            completion.read(getattr(self.guide, "schema", None) or Schema(self.options.schema))
        return completion

    def _logprobs(self, x: Prefix) -> list[float]:
        found: list[float] = []
        for node in x.path():
            if node is not x.origin and node.origin is x.origin:
                found += self.noted(node)
        return found

    def noted(self, node: Prefix) -> list[float]:
        """The log-probabilities of a node's own tokens, as completions hold them; KeyError where they are not known."""
        noted = self.meter.noted(node)
        if self.law is None:
            return [logp for logp, _ in noted]
        return [LogProb(logp, top, *self.law.of(node, i)) for i, (logp, top) in enumerate(noted)]

    def _satisfies(self, tokens: Sequence[int], text: bytes) -> bool:
        """Whether a text that was stopped is one that its constraint allows to end where it is shown to end."""
        if (tokens and tokens[-1] in self.vocab.end) or not isinstance(self.guide, Guide):
            return True
        return self.guide.matches(text)


class Ending(Stop):
    """When the text of a request ends, and how much of it is shown: up to the stop string, or with it."""

    def __init__(self, options: Options, vocab: Vocab, room: int, healed: int) -> None:
        self.vocab, self.healed, self.include, self.least = vocab, healed, options.include_stop, options.min_tokens
        wanted = options.stop
        expect(wanted, (str, Stop, Iterable, type(None)), "stop", "a text or a list of texts, such as stop=['\\n\\n', 'END']")
        parts = [] if wanted is None else [wanted] if isinstance(wanted, str | Stop) else list(wanted)
        names = {vocab.name(id): id for id in vocab.special} if any(isinstance(p, str) for p in parts) else {}
        texts = [part for part in parts if not isinstance(part, Stop)]
        self.tokens = frozenset(options.stop_tokens) | {names[t] for t in texts if isinstance(t, str) and t in names}
        wrong = [token for token in self.tokens if not 0 <= token < vocab.size]
        require(not wrong, f"stop_tokens: token {wrong[:1]} is outside this vocabulary of {vocab.size} tokens")
        ends = frozenset() if options.ignore_eos else vocab.end
        self.ends = ends | self.tokens
        self.strings = stops.strings(texts, vocab) if texts else None
        self.stop: Stop = stops.end(self.ends)
        for each in [*([self.strings] if self.strings else []), *(part for part in parts if isinstance(part, Stop))]:
            self.stop = self.stop | (stops.after(self.least, each) if self.least else each)
        self.stop = self.stop | stops.budget(min(options.max_tokens, room))
        if options.max_seconds is not None:
            self.stop = self.stop | stops.deadline(options.max_seconds)
        self.most = self.stop.most

    def __call__(self, x: Prefix) -> str | None:
        return self.stop(x)

    def cut(self, tokens: Sequence[int], text: bytes) -> int:
        """How many bytes of a finished text are shown."""
        if self.strings is not None and (match := self.strings.match(text, self._since(tokens))) is not None:
            return match[1] if self.include else match[0]
        if tokens and tokens[-1] in self.tokens and not self.include:
            return len(text) - len(self.vocab.join([tokens[-1]]))
        return len(text)

    def sure(self, tokens: Sequence[int], text: bytes) -> int:
        """How many bytes of an unfinished text are certain to be shown."""
        if self.strings is None:
            return len(text)
        match = self.strings.match(text, self._since(tokens))
        return match[0] if match is not None else len(text) - self.strings.held(text)

    def _since(self, tokens: Sequence[int]) -> int:
        return len(self.vocab.join(tokens[: self.least])) if self.least else 0


def begin(lm: LanguageModel, x: Prefix, options: Options, rng: Rng, guide: Guide | TokenConstraint | None) -> Writing:
    """A request for texts below x, as a decoder for the loop and what reads it."""
    healed = b""
    if options.tools is not None and guide is None:
        guide = calls_guide(lm, options.tools, options.tool_choice)
    if options.heal:
        tokens, guide, healed = heal(x.ids(), lm.vocab, guide)
        x = Prefix(tokens) if healed else x
    known = lm.cache.known(x, options.cache_salt) if lm.cache is not None else 0
    stats = Stats(prompt_tokens=len(x), cached_tokens=known)
    base = options.scorer if options.scorer is not None else lm.model
    require(
        base.vocab_size == lm.vocab.size,
        f"scorer= speaks of {base.vocab_size} tokens, but {lm.name} has {lm.vocab.size}; build it from lm.scorer",
    )
    ending = Ending(options, lm.vocab, lm.context - len(x), len(healed))
    meter = Meter(base, stats, options.logprobs or 0)
    timed = hurrying(options, guide, lm.vocab, min(options.max_tokens, lm.context - len(x)))
    law_of = guide if timed is None else timed
    scorer = shaped(options.built_on(meter, lm, prompt=x, guide=guide), options, ending, law_of, rng)
    law = LawMeter(scorer, options.logprobs) if options.logprobs is not None else None
    scorer = law if law is not None else scorer
    decoding = method(lm, options, guide, stats)
    most = options.n if getattr(decoding, "many", False) else 1
    decoder = _found(decoding, scorer, meter, x, ending, rng, most)
    many, calls = most > 1, format_of(lm) if options.tools is not None else None
    return Writing(
        decoder, options, lm.vocab, meter, law, ending, stats, guide, x.origin, timed, many, calls=calls, shown=len(healed)
    )


def hurrying(options: Options, guide: Any, vocab: Vocab, tokens: int) -> InTime | None:
    """The guide, restricted to what is finished within so many tokens; None where that is not asked, or is tried and cannot
    be: the text will be cut off, and that is told."""
    called = options.tools is not None and options.tool_choice not in ("auto", "none")
    usual = "try" if options.schema is not None or called else False
    asked = usual if options.in_time is None else options.in_time
    if not asked or not isinstance(guide, Guide) or (asked == "try" and guide.engine.machine() is None):
        return None
    timed = within(guide, tokens=tokens).over(vocab)
    return timed if asked is True or timed.possible else None


def shaped(scorer: Scorer, options: Options, ending: Ending, guide: Guide | TokenConstraint | None, rng: Rng) -> Scorer:
    """scorer | logit shapers * guide | temperature | truncation."""
    shapers = options.shapers_by_stage()
    if options.min_tokens:
        shapers.insert(0, not_before(options.min_tokens, ending.ends))
    for shaper in shapers:
        if guide is not None and shaper.stage > Stage.CONSTRAINT:
            scorer, guide = scorer * guide, None
        scorer = scorer | shaper.seeded(rng)
    return scorer if guide is None else scorer * guide


def method(lm: LanguageModel, options: Options, guide: Guide | TokenConstraint | None, stats: Stats) -> Decoding:
    """The decoder that the options name: one of their own, or speculation with their drafter, or plain sampling."""
    if options.decoder is not None:
        assert not isinstance(options.decoder, str)
        return options.decoder
    drafter = lm.drafter(options.drafter, options.verifier is not None)
    if drafter is None:
        return Sample()
    if isinstance(guide, Guide):  # what a constraint over tokens forces is not known
        drafter = drafter.guided_by(Outlook(guide, lm.vocab, lm.tokenizer.encode))
    verifier = options.verifier if isinstance(options.verifier, Verifier) else SampleMatch()
    return Speculate(TimedDrafter(drafter, stats), verifier)


def _found(
    decoding: Decoding, scorer: Scorer, meter: Meter, x: Prefix, stop: Stop, rng: Rng, most: int
) -> Decoder[list[Weighted]]:
    """What a decoder finds, at most so many, with the log-probabilities of all of it known to the meter."""
    decoder = decoding(scorer, x, stop, rng)
    require(
        hasattr(decoder, "send"),
        f"decoder={decoding!r} gave {str(decoder)[:100]}; a decoder is a generator function: it yields es.Ask and es.Keep",
    )
    found = finds((yield from decoder), x)[:most]
    if len(found) < most:
        raise InvalidInput(f"the decoder found {len(found)} texts, but n={most}; ask for fewer, or let it keep more")
    yield from meter.complete([each.prefix for each in found])
    return found
