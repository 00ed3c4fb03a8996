"""Shapers: functions of rows. A shaper says at which stage of a row it works."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from espalier.errors import InvalidInput

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

    from espalier.prefix import Prefix
    from espalier.rng import Rng
    from espalier.rows import Rows
    from espalier.text.vocab import Vocab


class Stage(IntEnum):
    """Where on a row something works; the order of the members is the order on every row.

    LOGITS sees unnormalised logits and may only add to them or scale them. TEMPERATURE and TRUNCATION see normalised
    log-probabilities of the allowed tokens; only TRUNCATION may make a token impossible.

    >>> Stage.LOGITS < Stage.CONSTRAINT < Stage.TEMPERATURE < Stage.TRUNCATION
    True
    """

    LOGITS = 0
    CONSTRAINT = 1
    TEMPERATURE = 2
    TRUNCATION = 3

    @property
    def says(self) -> str:
        """What works at this stage, for people."""
        return _SAYS[self]


_SAYS = {
    Stage.LOGITS: "logits (penalties, bias, contrast)",
    Stage.CONSTRAINT: "constraint",
    Stage.TEMPERATURE: "temperature",
    Stage.TRUNCATION: "truncation (top-k, top-p, min-p)",
}


class Edit(NamedTuple):
    """A few logits of a row changed.

    "add" adds `by[i]` to that of `tokens[i]`, as often as the token is named. "divide" divides those that are positive by
    `by[0]` and multiplies the others (for a factor below 1 the other way round), each token named once.
    `tokens`: int32 [n]. `by`: float32 [n], or [1].
    """

    what: str
    tokens: ndarray
    by: ndarray


class Shaper(ABC):
    """A function of rows: [N, V] log-weights and their N prefixes → [N, V] log-weights.

    `stage` must be said by every shaper; there is no default, because the wrong one changes the law without an error.
    Rows are shaped one by one in effect: row i may depend on prefix i only.

    >>> import torch, espalier as es
    >>> class Loud(Shaper):  # doubles logits
    ...     stage = Stage.LOGITS
    ...     def __call__(self, weights, prefixes):
    ...         return 2 * weights
    >>> scorer = es.models.Table(2, 0, lambda context: torch.tensor([0.0, 1.0])) | Loud()
    >>> [x] = es.run(es.sample(scorer | es.temperature(0), es.Prefix(), es.stop.budget(2), es.Rng(0)))
    >>> x.ids()
    [1, 1]
    """

    stage: ClassVar[Stage]
    greedy: bool = False  # leaves only the most probable token
    keeps_best: bool = True  # the most probable token stays it
    elementwise: bool = False  # changes each weight by itself, so a constraint may as well come after it

    @abstractmethod
    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        """The shaped log-weights [N, V]; never changes its input in place."""

    @property
    def in_kernel(self) -> tuple[str, float] | None:
        """What the kernel of batched rows calls this, such as ("top_p", 0.9); None if only `__call__` can do it."""
        return None

    def edits(self, x: Prefix) -> Sequence[Edit] | None:
        """What it does to the logits after x, where that is to change a few; None if `__call__` must see the row."""
        return None

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(settings)})"[:200]

    def check(self, vocab_size: int) -> None:  # noqa: B027 - optional
        """Raise `InvalidInput` if this shaper cannot work on a vocabulary of this size (a bias for token V, say)."""

    def seeded(self, rng: Rng) -> Shaper:
        """This shaper with its coin flips taken from `rng`; itself if it flips none, or was given a source of its own."""
        return self

    def unseen(self, prefixes: Sequence[Prefix]) -> list[Prefix]:
        """Prefixes above these whose rows it must shape before theirs, and has not: none, unless it remembers rows."""
        return []

    def see(self, rows: Rows) -> None:  # noqa: B027 - optional
        """Told of the rows that an answer holds, this shaper's work on them still to be done."""

    def bound(self, vocab: Vocab | None) -> Shaper:
        """This shaper as it works on a scorer with this vocabulary: asked once, by `scorer | shaper`.

        For shapers that must know what tokens say or which of them ends a text; raises `InvalidInput` if the scorer has no
        vocabulary and they need one.
        """
        return self


def stage_of(shaper: Shaper) -> Stage:
    """The stage at which a shaper works. Raises `InvalidInput` if it does not say one."""
    name, stage = type(shaper).__name__, getattr(shaper, "stage", None)
    if stage is None:
        raise InvalidInput(
            f"{name} does not say at which stage of a row it works; write `stage = es.Stage.LOGITS` in the class (it adds to "
            "logits), Stage.TEMPERATURE (it sharpens probabilities) or Stage.TRUNCATION (it removes tokens)"
        )
    if not isinstance(stage, Stage) or stage is Stage.CONSTRAINT:
        raise InvalidInput(f"{name}.stage is {stage!r}; use Stage.LOGITS, Stage.TEMPERATURE or Stage.TRUNCATION")
    return stage


def shaped(shaper: Shaper, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
    """What a shaper makes of rows [N, V]. Raises `InvalidInput` if that is no tensor of their shape."""
    after = shaper(weights, prefixes)
    if getattr(after, "shape", None) != weights.shape or not after.dtype.is_floating_point:
        found = f"a tensor of shape {list(after.shape)}, {after.dtype}" if hasattr(after, "dtype") else repr(after)[:200]
        raise InvalidInput(f"{type(shaper).__name__} made {found} of weights {list(weights.shape)}; return as many, shaped")
    return after
