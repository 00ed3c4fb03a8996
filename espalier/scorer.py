"""Scorers: whatever answers "what may come after this prefix?" with a row of log-weights over the vocabulary."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from espalier.capabilities import Capabilities
from espalier.errors import InvalidInput
from espalier.prefix import Prefix, Query
from espalier.shaper import Shaper, Stage, stage_of
from espalier.soft_prefix import embedded
from espalier.token_constraint import BothLimits, StateLimit, states, token_constraint

if TYPE_CHECKING:
    from threading import RLock

    from torch import Tensor

    from espalier.rows import Limit, Rows
    from espalier.text.vocab import Vocab


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """The only question there is: the rows of `scorer` after each of `prefixes`, with the extras in `want`.

    Yield one from a decoder and get a `Rows` back; yield a tuple of asks to have them answered in the same turn.
    `want` may name extras (`es.Extra`): HIDDEN, the last hidden state [N, D], or LAYERS, all of them [N, L + 1, D].
    `embeds`: for each prefix input embeddings [n, D] that are read behind it; the rows are those that follow them, and the
    prefixes become `es.Soft` ones, from which a decoder may go on. Raises `InvalidInput` for a model that takes none.

    >>> import espalier as es
    >>> def likeliest(scorer, x):  # a decoder of your own
    ...     [row] = yield Ask(scorer, [x])
    ...     return row.top(2)
    >>> [found] = es.run(likeliest(es.models.Table.random(vocab_size=4, depth=1, seed=0), Prefix([1])))
    >>> [token for token, _ in found]
    [2, 3]
    """

    scorer: Scorer
    prefixes: Sequence[Query]
    want: frozenset[str] = frozenset()
    embeds: Sequence[Tensor] | None = None

    def __post_init__(self) -> None:
        if self.embeds is not None:
            object.__setattr__(self, "prefixes", embedded(self.scorer, self.prefixes, self.embeds))
            object.__setattr__(self, "embeds", None)


Answer: TypeAlias = Generator["Ask | tuple[Ask, ...]", Any, "Rows"]


class Scorer(ABC):
    """Prefix → row of log-weights over `vocab_size` tokens. Models are scorers; so is everything built from scorers.

    `scorer | shaper` reshapes rows, `scorer * guide` restricts them. On a row the order is always: model, shapers of
    logits, log-softmax, constraint, temperature, truncation; building another order raises `InvalidInput`.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=1, seed=0)
    >>> scorer = model | es.bias({2: 1.5}) | es.temperature(0.5) | es.top_k(2)
    >>> [x] = es.run(es.sample(scorer, Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> len(x.written())
    3
    """

    vocab_size: int
    vocab: Vocab | None = None
    stage: Stage = Stage.LOGITS

    @abstractmethod
    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        """The rows [N, V] after N prefixes: a generator that may ask other scorers, and returns `Rows`."""

    @property
    def extras(self) -> frozenset[str] | None:
        """What its answers can hold besides rows; None if it does not say."""
        return None

    def __or__(self, shaper: Shaper) -> Scorer:
        return Shaped(self, shaper)

    def __mul__(self, constraint: object) -> Scorer:
        return Constrained(self, constraint)

    def forbid(self, prefix: Prefix, token: int) -> None:
        """From now on no text goes on with `token` after `prefix`: a decoder found that this way is shut (a dead end)."""
        raise InvalidInput(f"{type(self).__name__} has no constraint, so no way can be shut in it")

    def viable(self, prefix: Prefix) -> bool:
        """False if a constraint in this scorer refuses the prefix, so that there is no use in scoring it."""
        return True

    def may_end(self, prefix: Prefix) -> bool:
        """False if a constraint in this scorer says that the text cannot end here, where no end token was written."""
        return True

    def admit(self, stage: Stage, name: str) -> None:
        """Raise if something that works at `stage` cannot come after what this scorer already does."""
        if stage < self.stage:
            raise InvalidInput(
                f"{name} works on {stage.says} but was put after {self.stage.says}, where its effect would be "
                f"another one; write it earlier: model | penalties * constraint | temperature | truncation"
            )


_passing: WeakKeyDictionary[Model, RLock] = WeakKeyDictionary()


class Model(Scorer):
    """A leaf: answers from its own forward pass. One call of `forward` is one pass over all prefixes it is given.

    `capabilities` says what it can give besides rows. `invariant`: a row is the same to the last bit whatever else is in
    the pass; False unless said. `context`: how many tokens it can look at. `room`: for how many tokens it keeps keys and
    values, None if it says nothing. `gathers`: it computes nothing and brings texts together: it is asked
    behind the passes of a turn, waits for all that asked it in the round before, and counts as no pass.

    >>> import torch, espalier as es
    >>> class Even(Model):
    ...     vocab_size = 4
    ...     def forward(self, prefixes, want):
    ...         return es.Rows(torch.zeros(len(prefixes), 4), prefixes)
    >>> [x] = es.run(es.sample(Even(), Prefix(), es.stop.budget(3), es.Rng(0)))
    >>> len(x)
    3
    """

    invariant: bool = False
    context: int = 1 << 30
    gathers: bool = False

    @property
    def room(self) -> int | None:
        """For how many tokens keys and values may be kept at once; None if there is no such limit."""
        return None

    @property
    def capabilities(self) -> Capabilities:
        """What this model can give besides rows, and what may be asked of it."""
        return Capabilities(invariant=self.invariant)

    @property
    def extras(self) -> frozenset[str]:
        """What a pass can give besides rows."""
        return self.capabilities.extras

    @property
    def passing(self) -> RLock:
        """The lock of this model's passes: one at a time, in whatever threads they are asked for."""
        return _passing.get(self) or _passing.setdefault(self, threading.RLock())

    @abstractmethod
    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Rows:
        """The rows [N, V] of the tokens that follow N prefixes; row i depends on `prefixes[i]` alone."""

    def forward_beside(self, prefixes: Sequence[Prefix], want: frozenset[str], ahead: Sequence[tuple[Prefix, int]]) -> Rows:
        """`forward`, and in the same pass some more rows of prompts; for models whose capabilities are `chunked`."""
        raise InvalidInput(f"{type(self).__name__} cannot read prompts in pieces, so nothing can be read ahead in its passes")

    def costs(self, prefixes: Sequence[Prefix]) -> list[int]:
        """How many rows a pass computes for each of these prefixes, what is before it in the list being there."""
        return [1] * len(prefixes)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self, prefixes, want)
        return rows


class Wrapper(Scorer):
    """A scorer over another one, `inner`, of the same vocabulary; what it does not do itself the inner one does."""

    def __init__(self, inner: Scorer, stage: Stage | None = None) -> None:
        self.inner = inner
        self.vocab_size, self.vocab, self.stage = inner.vocab_size, inner.vocab, inner.stage if stage is None else stage

    @property
    def extras(self) -> frozenset[str] | None:
        return self.inner.extras

    def forbid(self, prefix: Prefix, token: int) -> None:
        self.inner.forbid(prefix, token)

    def viable(self, prefix: Prefix) -> bool:
        return self.inner.viable(prefix)

    def may_end(self, prefix: Prefix) -> bool:
        return self.inner.may_end(prefix)


class Shaped(Wrapper):
    """A scorer whose rows pass through a shaper. At LOGITS it is applied at once; later stages wait for the constraint."""

    def __init__(self, inner: Scorer, shaper: Shaper) -> None:
        if not isinstance(shaper, Shaper):
            raise InvalidInput(f"scorer | {shaper!r}: expected a shaper such as es.temperature(0.7)")
        inner.admit(stage_of(shaper), type(shaper).__name__)
        shaper.check(inner.vocab_size)
        super().__init__(inner, shaper.stage)
        self.shaper = shaper.bound(inner.vocab)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        before = self.shaper.unseen(prefixes)
        asked = [*before, *prefixes] if before else prefixes
        rows: Rows = yield Ask(self.inner, asked, want)
        if self.shaper.stage is Stage.LOGITS:
            rows = rows.reshaped(self.shaper)
        else:
            rows = rows.followed_by(self.shaper)
            self.shaper.see(rows)
        return rows[len(before) :] if before else rows


class Constrained(Wrapper):
    """`inner * constraint`: the inner scorer under a guide, or a `TokenConstraint`, on what is written after each origin.

    Guarantee: a row gives mass only to tokens that the constraint allows there. States are kept per prefix, so forks
    share them and rolling back is forgetting. The law of `sample` is p(v | x) restricted and renormalised step by step,
    which is not p(text | text is valid).
    """

    def __init__(self, inner: Scorer, constraint: object) -> None:
        inner.admit(Stage.CONSTRAINT, "a constraint")
        super().__init__(inner, Stage.CONSTRAINT)
        self.constraint = token_constraint(constraint, inner.vocab)
        self.state = states(self.constraint)  # after x; None if x has left the constraint
        self._shut: WeakKeyDictionary[Prefix, frozenset[int]] = WeakKeyDictionary()

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, prefixes, want)
        limits: list[Limit | None] = [self._limit(x) for x in prefixes]
        if rows.limits is not None:
            limits = [a if b is None else BothLimits(a, b) for a, b in zip(limits, rows.limits, strict=True) if a is not None]
        return rows.limited(limits)

    def viable(self, prefix: Prefix) -> bool:
        return self.state(prefix) is not None and self.inner.viable(prefix)

    def may_end(self, prefix: Prefix) -> bool:
        state, accepts = self.state(prefix), getattr(self.constraint, "accepts", None)
        return state is not None and (accepts is None or accepts(state)) and self.inner.may_end(prefix)

    def forbid(self, prefix: Prefix, token: int) -> None:
        self._shut[prefix] = self._shut.get(prefix, frozenset()) | {token}

    def _limit(self, x: Prefix) -> StateLimit:
        return StateLimit(self.constraint, self.state(x), self._shut.get(x, frozenset()), self.vocab_size)
