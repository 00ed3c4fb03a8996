"""What a generation returns: text, tokens, log-probabilities, why it ended, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from espalier.constraints.schema.schema import Schema
from espalier.constraints.tool_call_parser import ToolCall
from espalier.errors import EspalierError, InvalidInput, RefusedValue


class LogProb(float):
    """A log-probability under the model that knows more: `top`, the best tokens in its place with theirs; `drawn`, the token's
    log-probability under the law that it was drawn from (None where the decoder did not ask), and `drawn_top`.

    >>> p = LogProb(-0.5, ((7, -0.5), (3, -1.0)), -0.1)
    >>> p < 0, p.top[0], p.drawn
    (True, (7, -0.5), -0.1)
    """

    __slots__ = ("drawn", "drawn_top", "top")

    top: tuple[tuple[int, float], ...]
    drawn: float | None
    drawn_top: tuple[tuple[int, float], ...]

    def __new__(
        cls,
        logp: float,
        top: tuple[tuple[int, float], ...] = (),
        drawn: float | None = None,
        drawn_top: tuple[tuple[int, float], ...] = (),
    ) -> LogProb:
        made = super().__new__(cls, logp)
        made.top, made.drawn, made.drawn_top = top, drawn, drawn_top
        return made


class Piece(str):
    """A piece of a text that is streamed; `branch` says of which of the n texts.

    >>> Piece("Hi", 1).branch, Piece("Hi", 1) == "Hi"
    (1, True)
    """

    __slots__ = ("branch",)

    branch: int

    def __new__(cls, text: str, branch: int = 0) -> Piece:
        made = super().__new__(cls, text)
        made.branch = branch
        return made


@dataclass(slots=True)
class Stats:
    """What one request cost. Times are seconds of wall clock; a pass is shared by all requests of a batch."""

    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompt's, how many were known before
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
    or "time". With `logprobs=k` each of them is a `LogProb`, which also holds the k best tokens and the law that was drawn
    from. `log_weight` is the decoder's weight of this text (0 for a plain sample). `whole` is False for a text under a
    constraint that was cut off before it satisfied it, by a stop string, say. `parsed` is the value of a whole text under a
    schema; where its class refuses it, `error` says why. `tool_calls` are the calls of tools in it.
    `hurried` says that a token was refused because no text would have
    ended within `max_tokens` behind it. `prompt_logprobs` are those of the prompt's tokens behind the first,
    for `max_tokens=0`.

    >>> one = Completion("Hi", [7], [-0.5], "stop", Stats())
    >>> str(one), len(one), one[0] is one
    ('Hi', 1, True)
    """

    text: str
    tokens: list[int]
    logprobs: list[float]
    finish_reason: str
    stats: Stats
    parsed: Any = None
    whole: bool = True
    hurried: bool = False
    tool_calls: list[ToolCall] = field(default_factory=list)
    error: EspalierError | None = None
    log_weight: float = 0.0
    prompt_logprobs: list[float] | None = None
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
