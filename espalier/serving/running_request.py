"""One request in an engine: its decoders, what is kept of them, and the events that they make."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from espalier.decoders.decoder import Weighted
from espalier.engine import Engine as Loop
from espalier.prefix import Prefix
from espalier.requests.completion import Completion, LogProb
from espalier.requests.running import Writing
from espalier.run import Decoder
from espalier.serving.request_handle import Handle, Text
from espalier.text.detokenize import Detokenizer


@dataclass(eq=False)
class Branch:
    """One decoder of a request: what of its first text was shown, and which of its tokens were told."""

    writing: Writing
    number: int
    text: Detokenizer
    x: Prefix | None = None  # kept last
    told: int = 0  # tokens in events
    number_in_loop: int | None = None
    found: list[Completion] | None = None

    def advance(self, loop: Loop, now: float) -> Text | None:
        """Books what settled in the last turn; the event of it, if there is something to show."""
        assert self.number_in_loop is not None
        writing = self.writing
        for keep in loop.kept(self.number_in_loop):
            if keep.branch == 0:
                writing.keep(keep.prefix, now)
                self.x = keep.prefix
        writing.meter.note()
        if writing.holds or self.x is None:
            return None
        text = self.text.feed(writing.show(final=False))
        return self._event(text, self.x) if text else None

    def end(self, found: Sequence[Weighted]) -> Text | None:
        """Takes the result in; the last event of this text."""
        self.writing.settle(found[0].prefix)
        text = self.text.feed(self.writing.show(final=True)) + self.text.finish()
        self.found = self.writing.completions(found)
        return self._event(text, found[0].prefix)

    def _event(self, text: str, x: Prefix) -> Text | None:
        """The text with the tokens up to x that were not told yet, as far as their log-probabilities are known."""
        fresh: list[Prefix] = []
        for node in x.up():
            if len(node) - len(self.writing.origin) <= self.told:
                break
            fresh.append(node)
        tokens, logprobs = list[int](), list[float]()
        for node in reversed(fresh):
            try:
                noted = self.writing.noted(node)
            except KeyError:
                break
            skip = max(0, self.told - (len(node) - len(node.tokens) - len(self.writing.origin)))
            tokens += node.tokens[skip:]
            logprobs += noted[skip:]
            self.told = len(node) - len(self.writing.origin)
        return Text(text, tuple(tokens), tuple(logprobs), self.number) if text or tokens else None


@dataclass(eq=False)
class Job:
    """A request: its handle, its place in the queue, its decoders, and the prompt scores that it asked for."""

    handle: Handle
    x: Prefix
    branches: list[Branch]
    need: int  # tokens of keys and values that it may come to hold
    priority: int = 0
    order: int = 0
    salt: str | None = None
    submitted: float = field(default_factory=time.perf_counter)
    begun: float | None = None  # when it left the queue
    first_piece: float | None = None
    last_piece: float | None = None
    pieces: int = 0
    scores: Decoder[list[LogProb]] | None = None
    scores_number: int | None = None
    prompt_logprobs: list[float] | None = None
    alone: Completion | None = None  # of a request for scores only

    def __lt__(self, other: Job) -> bool:
        return (-self.priority, self.order) < (-other.priority, other.order)

    def start(self, loop: Loop) -> None:
        """Adds the decoders to the loop."""
        if self.scores is not None:
            self.scores_number = loop.add(self.scores)
        for branch in self.branches:
            branch.number_in_loop = loop.add(branch.writing.decoder)

    def stop(self, loop: Loop) -> None:
        """Takes the decoders out of the loop and lets go of what they hold."""
        for number in [self.scores_number, *(branch.number_in_loop for branch in self.branches)]:
            if number is not None:
                loop.cancel(number)
        for branch in self.branches:
            branch.writing.decoder.close()

    def advance(self, loop: Loop, now: float) -> list[Weighted]:
        """Tells the handle what has settled; returns the finds that ended. Raises what a decoder raised."""
        ended: list[Weighted] = []
        if self.scores_number is not None and self.prompt_logprobs is None and loop.over(self.scores_number):
            self.prompt_logprobs = list(loop.result(self.scores_number))
        for branch in self.branches:
            if branch.found is not None or branch.number_in_loop is None:
                continue
            over = loop.over(branch.number_in_loop)
            event = branch.advance(loop, now)
            if event is not None:
                self._put(event)
            if over:
                found: list[Weighted] = loop.result(branch.number_in_loop)
                last = branch.end(found)
                if last is not None:
                    self._put(last)
                ended += found
        return ended

    def _put(self, event: Text) -> None:
        self.pieces += 1
        self.handle.put(event)

    @property
    def over(self) -> bool:
        """Whether everything has ended."""
        read = self.scores_number is None or self.prompt_logprobs is not None
        return read and all(branch.found is not None for branch in self.branches)

    def completion(self) -> Completion:
        """The completion of all branches, as `lm.complete` returns it."""
        if self.alone is not None:
            self.alone.prompt_logprobs = self.prompt_logprobs
            return self.alone
        group = [completion for branch in self.branches for completion in branch.found or ()]
        for completion in group if len(group) > 1 else ():  # one alone would hold itself, and be freed late
            completion.siblings = group
        group[0].prompt_logprobs = self.prompt_logprobs
        return group[0]

    def finish(self) -> None:
        """Tells the handle that the request has ended."""
        self.handle.finish(self.completion())


__all__ = ["Branch", "Job"]
