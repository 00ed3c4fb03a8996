"""What an engine may use: how many texts at once, how many wait, how much memory, and what one guide may cost."""

from __future__ import annotations

from dataclasses import dataclass

from espalier import constraints
from espalier.errors import require


@dataclass(frozen=True)
class Limits:
    """How much an engine takes on. `running` requests are written side by side, `queued` wait, more are refused.

    A turn computes at most `prompt_rows` rows of prompts beside all rows of running texts. `kv_mb` bounds keys and values of
    running requests (None: what the model may hold), `cache_mb` those of ended texts. `max_output_tokens` and `max_seconds`
    bound every request. A guide may take `guide_seconds` to build, `guide_mb` of memory, and `mask_ms` per mask.
    Raises `InvalidInput` for what is no bound.

    >>> Limits(running=4).prompt_rows
    64
    """

    running: int = 16
    queued: int = 256
    prompt_rows: int = 64
    cache_mb: float = 1024
    kv_mb: float | None = None
    max_output_tokens: int | None = None
    max_seconds: float | None = None
    guide_seconds: float = 2.0
    guide_mb: float = 256.0
    mask_ms: float = 50.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in ("queued", "cache_mb") else 1e-9
            number = isinstance(value, int | float) and not isinstance(value, bool)
            optional = value is None and name in ("kv_mb", "max_output_tokens", "max_seconds")
            said = "0 or more" if least == 0 else "above 0"
            require(optional or (number and value >= least), f"Limits({name}={value!r}): a bound is a number {said}")
            if name in ("running", "queued", "prompt_rows", "max_output_tokens") and value is not None:
                require(isinstance(value, int), f"Limits({name}={value!r}): a count is a whole number")

    @property
    def guide(self) -> constraints.Limits:
        """The limits of each guide."""
        return constraints.Limits(
            compile_ms=self.guide_seconds * 1e3, memory_mb=self.guide_mb, mask_us=max(1.0, self.mask_ms * 1e3)
        )
