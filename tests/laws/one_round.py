"""The exact law of one round of speculation, by enumerating every draft and everything a verifier may do with it.

If the tokens w that a round emits, followed by the target's own, have the target's law from every prefix and every state
that a drafter can be in, then by induction so has the whole text. For emissions e of a round that is
Σ over the beginnings e of w of P(e) / p(e) = 1 for every w: one round is enough, and it takes no second one to check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

import espalier as es
from espalier.drafting import Draft, Drafter
from espalier.rows import Row, Rows
from espalier.testing import Replay, outcomes
from espalier.verification import SampleMatch, Verifier

PROMPT = (0, 1, 0)
Tokens = tuple[int, ...]


@dataclass
class Target:
    """A target whose rows are remembered by the tokens that were written, since thousands of drafts ask for the same."""

    scorer: es.Scorer
    end: int
    rows: dict[Tokens, Row] = field(default_factory=dict)
    hidden: dict[Tokens, torch.Tensor] = field(default_factory=dict)

    def ask(self, prefixes: list[es.Prefix]) -> Rows:
        """The rows of some prefixes, each evaluated once for all drafts in which it occurs."""
        keys = [tuple(x.ids()) for x in prefixes]
        missing = {key: x for key, x in zip(keys, prefixes, strict=True) if key not in self.rows}
        if missing:
            [answer] = es.run(_ask(self.scorer, list(missing.values())))
            for i, key in enumerate(missing):
                self.rows[key], self.hidden[key] = answer[i], answer.extras["hidden"][i]
        hidden = torch.stack([self.hidden[key] for key in keys])
        return Remembered([self.rows[key] for key in keys], prefixes, {"hidden": hidden})

    def p(self, x: es.Prefix, token: int) -> float:
        """The target's probability of one token."""
        return float(self.ask([x])[0].probs()[token])

    def texts(self, x: es.Prefix, length: int) -> Iterator[tuple[Tokens, float]]:
        """Every text below x that the target can write, up to its end or a length, and its probability."""
        if length == 0 or (x is not x.origin and x.last == self.end):
            yield (), 1.0
            return
        for token, p in enumerate(self.ask([x])[0].probs().tolist()):
            if p > 0:
                for rest, weight in self.texts(x + token, length - 1):
                    yield (token, *rest), p * weight


class Remembered(Rows):
    """Rows that are there already."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[Row], prefixes: list[es.Prefix], extras: dict[str, torch.Tensor]) -> None:
        super().__init__(torch.stack([row.logits for row in rows]), prefixes, extras)
        self._rows = rows

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        return self._rows[at] if isinstance(at, int) else super().__getitem__(at)


def _ask(scorer, prefixes):  # type: ignore[no-untyped-def]
    return (yield es.Ask(scorer, prefixes, frozenset({"hidden"})))


@dataclass
class State:
    """A drafter in the middle of a text: where it is, and how to get there again (drafters are not copied)."""

    make: Callable[[], Drafter]
    target: Target
    tokens: int
    seed: int

    def reach(self) -> tuple[Drafter, es.Prefix]:
        """A drafter that has drafted for `tokens` tokens of a text, and the text."""
        drafter, x = Held(self.make()), es.Prefix(PROMPT)
        if self.tokens:
            stop = es.stop.budget(self.tokens)
            [x] = es.run(es.speculate(self.target.scorer, x, stop, drafter, SampleMatch(), es.Rng(self.seed)))
            return drafter.inner, x
        return drafter.inner.begin(x), x


class Held(Drafter):
    """A drafter that keeps hold of the one that it began for the request."""

    def __init__(self, inner: Drafter) -> None:
        self.inner, self.kind, self.want = inner, inner.kind, inner.want

    def begin(self, x):  # type: ignore[no-untyped-def]
        self.inner = self.inner.begin(x)
        return self.inner

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        return self.inner.propose(x, rng)


def states(make: Callable[[], Drafter], target: Target) -> list[State]:
    """A drafter at the beginning of a text, and after four tokens of one that has not ended."""
    for seed in range(50):
        later = State(make, target, 4, seed)
        try:
            _, x = later.reach()
        except es.EspalierError:
            continue  # the text ended, and a constraint lets nothing follow
        if target.end not in x.written():
            return [State(make, target, 0, 0), later]
    raise AssertionError("no text of four tokens in fifty")


def drafts(state: State) -> Iterator[tuple[float, Draft, Rows]]:
    """Every draft that may be proposed in a state, its probability, and the target's rows for it."""
    for p, (drafter, draft) in outcomes(lambda rng: _propose(state, rng)):
        pruned = draft.pruned(state.target.scorer.viable)
        pruned.scored = len(pruned.prefixes)
        drafter.join(pruned)
        yield p, pruned, state.target.ask(pruned.prefixes)


def _propose(state: State, rng: es.Rng) -> tuple[Drafter, Draft]:
    drafter, x = state.reach()
    [draft] = es.run(drafter.propose(x, rng))
    return drafter, draft


def emissions(target: Target, draft: Draft, rows: Rows, verifier: Verifier, length: int) -> dict[Tokens, float]:
    """The probability of everything that a verifier may emit for a draft, cut at the end of the text and at a length."""
    asides = list(verifier.asides(draft))
    if asides:
        rows = target.ask([*draft.prefixes, *asides])
    law: dict[Tokens, float] = {}
    for p, emitted in outcomes(lambda rng: _emit(target, draft, rows, verifier, length, rng)):
        law[emitted] = law.get(emitted, 0.0) + p
    return law


def _emit(target: Target, draft: Draft, rows: Rows, verifier: Verifier, length: int, rng: Replay) -> Tokens:
    x = y = draft.prefixes[0]
    for y in verifier(draft, rows, rng):
        if y.last == target.end or len(y) - len(x) == length:
            break
    return tuple(y.since(x))


def assert_exact(target: Target, x: es.Prefix, law: dict[Tokens, float], length: int, tolerance: float = 1e-12) -> None:
    """Assert that a round's emissions, followed by the target's own tokens, have the target's law of texts."""
    assert abs(math.fsum(law.values()) - 1) <= tolerance, f"the probabilities sum to {math.fsum(law.values())}"
    own = dict(target.texts(x, length))
    chance = {e: math.prod(target.p(x + list(e[:i]), e[i]) for i in range(len(e))) for e in law}
    for e, p in law.items():
        assert chance[e] > 0 or p <= tolerance, f"P({e}) is {p:.15g}, but the target never says it"
    for text, p in own.items():
        got = math.fsum(law[text[:i]] / chance[text[:i]] for i in range(len(text) + 1) if text[:i] in law)
        assert abs(got * p - p) <= tolerance, f"P({text}) is {got * p:.15g}, should be {p:.15g}"
