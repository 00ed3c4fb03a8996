"""What a generation returns: text, tokens, log-probabilities, why it ended, and what it cost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from espalier.constraints.schema.schema import Schema
from espalier.drafting.draft import Draft, Drafter
from espalier.errors import EspalierError, InvalidInput, RefusedValue
from espalier.models.executors import native
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper


@dataclass(slots=True)
class Stats:
    """What one request cost. Times are seconds of wall clock; a pass is shared by all requests of a batch."""

    prompt_tokens: int = 0
    tokens: int = 0
    passes: int = 0
    nodes: int = 0  # prefixes that the target scored for this request
    seconds: float = 0.0
    first_token_seconds: float = 0.0
    pass_seconds: float = 0.0
    draft_seconds: float = 0.0
    per_pass: Counter[int] = field(default_factory=Counter)  # tokens emitted by a pass → how often

    @property
    def rest_seconds(self) -> float:
        """The time that was neither the target's passes nor drafting: verification, shaping, constraints, the loop."""
        return max(0.0, self.seconds - self.pass_seconds - self.draft_seconds)

    @property
    def tokens_per_pass(self) -> float:
        """Tokens emitted per pass of the target: 1 for plain decoding."""
        return self.tokens / self.passes if self.passes else 0.0


@dataclass(slots=True)
class Completion:
    """One generated text. `str()` of it is the text; as a sequence it holds the completions of all `n` requested.

    `tokens` are the written tokens (a final end token included), `logprobs` the natural log of their probabilities under
    the model itself, before any shaping or constraint; `finish_reason` is "stop" (an end token or stop string), "length"
    or "time". `whole` is False for a text under a constraint that was cut off before it satisfied it, by a stop string, say;
    `parsed` is the value of a whole text under a schema; where its class refuses it, `error` says why.
    """

    text: str
    tokens: list[int]
    logprobs: list[float]
    finish_reason: str
    stats: Stats
    parsed: Any = None
    whole: bool = True
    error: EspalierError | None = None
    siblings: Sequence[Completion] = ()

    def read(self, schema: Schema) -> None:
        """Reads the whole text as a value of the schema, which becomes `parsed`, or `error`."""
        try:
            self.parsed = schema.read(self.text)
        except RefusedValue as error:
            error.completion, self.error = self, error

    def value(self) -> Any:
        """The value of the text, with several completions the list of theirs.

        Errors: `InvalidInput` where a text was cut off, `RefusedValue` where its class refuses it; both hold the completion
        (`error.completion`), and with it all others (`error.completion.siblings`).
        """
        for completion in self:
            if completion.error is not None:
                raise completion.error
            if not completion.whole:
                error = InvalidInput(
                    f"the text was cut off ({completion.finish_reason}) after {len(completion.tokens)} tokens, incomplete; "
                    "raise max_tokens, leave stop strings out, or use lm.complete(…) to get what was written"
                )
                error.completion = completion
                raise error
        return self.parsed if len(self) == 1 else [c.parsed for c in self]

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return max(1, len(self.siblings))

    def __getitem__(self, i: int) -> Completion:
        return (self.siblings or [self])[i]

    def __iter__(self) -> Iterator[Completion]:
        return iter(self.siblings or [self])


class Meter(Wrapper):
    """The inner scorer, with its passes counted and the last rows kept until the tokens chosen from them are known."""

    def __init__(self, inner: Scorer, stats: Stats) -> None:
        super().__init__(inner)
        self.stats = stats
        self._rows: dict[Prefix, torch.Tensor] = {}
        self.emitted = 0

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        start = time.perf_counter()
        rows: Rows = yield Ask(self.inner, prefixes, want)
        self.stats.pass_seconds += time.perf_counter() - start
        self.stats.passes += 1
        self.stats.nodes += len(prefixes)
        self._rows = dict(zip(prefixes, rows.logits, strict=True))
        return rows

    def logp(self, x: Prefix) -> float:
        """The log-probability of x's one token, from the row of its parent in the last pass."""
        assert x.parent is not None
        row = self._rows[x.parent]
        return float(row[x.last]) - native.log_sum_exp(row)

    def note(self) -> None:
        """Books the tokens that came out of the last pass."""
        if self.emitted:
            self.stats.per_pass[self.emitted] += 1
            self.stats.tokens += self.emitted
        self.emitted = 0


class TimedDrafter(Drafter):
    """The inner drafter, with the time that it takes (its own models' passes included) added to the statistics."""

    def __init__(self, inner: Drafter, stats: Stats) -> None:
        self.inner, self.stats = inner, stats
        self.kind, self.want = inner.kind, inner.want

    @property
    def owner(self) -> Drafter:
        return self.inner.owner

    def check(self, scorer: Scorer) -> None:
        self.inner.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return TimedDrafter(self.inner.begin(x), self.stats)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        start = time.perf_counter()
        draft = yield from self.inner.propose(x, rng)
        self.stats.draft_seconds += time.perf_counter() - start
        return draft

    def join(self, draft: Draft) -> None:
        start = time.perf_counter()
        self.inner.join(draft)
        self.stats.draft_seconds += time.perf_counter() - start

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        start = time.perf_counter()
        self.inner.observe(x, draft, rows)
        self.stats.draft_seconds += time.perf_counter() - start
