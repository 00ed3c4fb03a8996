"""What a server allows and tells, beside the limits of its engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from espalier.errors import require


@dataclass(frozen=True)
class Settings:
    """How a server behaves. `names` are what the model is called (left out: its own name); any of `api_keys` opens it.

    Bodies of at most `max_body_mb` are read; at most `max_logprobs` best tokens may be asked for. A stream that is silent for
    `ping` seconds gets a comment. Unknown fields are refused, or, with `unknown="warn"`, logged. Prompts are only logged with
    `log_prompts`.

    >>> Settings(api_keys=["secret"]).max_logprobs
    20
    """

    names: Sequence[str] = ()
    api_keys: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    max_body_mb: float = 8
    max_logprobs: int = 20
    ping: float = 15
    drain: float = 30
    stalled_after: float = 30
    body_seconds: float = 30
    unknown: Literal["refuse", "warn"] = "refuse"
    log_format: Literal["text", "json"] = "text"
    log_prompts: bool = False

    def __post_init__(self) -> None:
        require(self.unknown in ("refuse", "warn"), f"unknown={self.unknown!r}: write 'refuse' or 'warn'")
        require(self.log_format in ("text", "json"), f"log_format={self.log_format!r}: write 'text' or 'json'")
        require(all(self.api_keys), "an API key is empty; leave it out, or write one that nobody guesses")
        for name in ("max_body_mb", "ping", "stalled_after", "body_seconds"):
            require(getattr(self, name) > 0, f"{name}={getattr(self, name)}: it is a number above 0")
        require(self.drain >= 0 and self.max_logprobs >= 0, "drain and max_logprobs are 0 or more")
