"""Laws as functions: what every scorer, model and decoder must satisfy, for tests of this library and of its users."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from espalier.engine import run
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Ask, Model, Scorer

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


class Replay(Rng):
    """An `Rng` that plays a script of outcomes and notes, for each flip, the probabilities of all outcomes.

    >>> rng = Replay([1])
    >>> rng.flip(0.25), rng.seen
    (True, [[0.75, 0.25]])
    """

    def __init__(self, script: Sequence[int]) -> None:
        super().__init__(0)
        self.script, self.seen = list(script), list[list[float]]()

    def categorical(self, weights: Tensor) -> int:
        total = float(weights.double().sum())
        if not 0 < total < math.inf:
            raise AssertionError(f"a draw from weights that sum to {total}")
        return self._outcome((weights.double() / total).tolist())

    def flip(self, p: float) -> bool:
        p = min(max(p, 0.0), 1.0)
        return self._outcome([1 - p, p]) == 1

    def split(self) -> Rng:
        return self  # flips are told apart by their order, so one script serves all streams

    def at(self, key: int) -> Rng:
        return self

    def _outcome(self, probabilities: list[float]) -> int:
        at = len(self.seen)
        self.seen.append(probabilities)
        if at == len(self.script):
            self.script.append(next(i for i, p in enumerate(probabilities) if p > 0))
        return self.script[at]


def exact_law(decoder: Callable[[Rng], Decoder[T]], key: Callable[[T], H], limit: int = 200_000) -> dict[H, float]:
    """The exact probability of every result of a decoder, by replaying every outcome of every coin flip.

    `decoder` makes a fresh decoder from an Rng, `key` makes results comparable. Raises AssertionError past `limit` runs.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=3, depth=1, seed=0)
    >>> law = exact_law(lambda rng: es.sample(model, es.Prefix(), es.stop.budget(2), rng), lambda x: tuple(x.ids()))
    >>> assert_same_law(law, model.joint(es.Prefix(), 2))
    """
    law: dict[H, float] = {}
    for p, result in outcomes(lambda rng: run(decoder(rng))[0], limit):
        law[key(result)] = law.get(key(result), 0.0) + p
    return law


def outcomes(function: Callable[[Replay], T], limit: int = 200_000) -> Iterator[tuple[float, T]]:
    """Everything that a function of an Rng may return, one entry for each sequence of flips, with its probability.

    >>> sorted((p, heads) for p, heads in outcomes(lambda rng: rng.flip(0.25)))
    [(0.25, True), (0.75, False)]
    """
    script: list[int] = []
    for _ in range(limit):
        rng = Replay(script)
        result = function(rng)
        yield math.prod(probabilities[i] for probabilities, i in zip(rng.seen, rng.script, strict=True)), result
        script = _next(rng)
        if not script:
            return
    raise AssertionError(f"more than {limit} runs: make the model smaller")


def _next(rng: Replay) -> list[int]:
    for at in reversed(range(len(rng.seen))):
        for outcome in range(rng.script[at] + 1, len(rng.seen[at])):
            if rng.seen[at][outcome] > 0:
                return [*rng.script[:at], outcome]
    return []


def assert_same_law(law: dict[H, float], expected: dict[H, float], tolerance: float = 1e-12) -> None:
    """Raise AssertionError if two laws differ anywhere by more than `tolerance`.

    >>> assert_same_law({"a": 0.5, "b": 0.5}, {"b": 0.5, "a": 0.5})
    """
    for outcome in law.keys() | expected.keys():
        got, want = law.get(outcome, 0.0), expected.get(outcome, 0.0)
        assert abs(got - want) <= tolerance, f"P({outcome}) is {got:.15g}, should be {want:.15g}"


def check_scorer(scorer: Scorer, prefixes: Sequence[Prefix], tolerance: float = 1e-6) -> None:
    """Assert the laws of a scorer: rows [N, V] are normalised, and a row alone equals the row in a batch.

    >>> import espalier as es
    >>> check_scorer(es.models.Table.random(vocab_size=4, depth=2, seed=0) | es.top_k(2), [Prefix([0]), Prefix([1, 2])])
    """
    [together] = run(_rows(scorer, prefixes))
    assert together.shape == (len(prefixes), scorer.vocab_size), f"rows {tuple(together.shape)}"
    assert torch.allclose(together.logsumexp(-1), torch.zeros(1).to(together), atol=tolerance), "rows do not sum to one"
    for i, x in enumerate(prefixes):
        [alone] = run(_rows(scorer, [x]))
        worst = float((alone[0].exp() - together[i].exp()).abs().max())
        assert worst <= tolerance, f"row {i} alone differs from the row in a batch by {worst:.3g}"


def _rows(scorer: Scorer, prefixes: Sequence[Prefix]) -> Decoder[Tensor]:
    rows = yield Ask(scorer, prefixes)
    return rows.dense()  # type: ignore[no-any-return]


def check_kv(model: Model, rng: Rng, tolerance: float = 1e-4) -> None:
    """Assert the laws of a model with a `kv`: tree == path == uncached, batch == alone, chunks == whole, evicted == recomputed,
    shared == own, and forgetting frees. `tolerance` bounds the largest difference of two logits; 0 asks for the same bits.

    >>> check_kv(lm.model, Rng(0), tolerance=0.0)  # doctest: +SKIP
    """
    kv: Any = model.kv  # type: ignore[attr-defined]
    before = kv.used
    tree, ids = _random_tree(model.vocab_size, rng)

    def same(logits: Tensor, expected: Tensor, law: str) -> None:
        worst = float((logits - expected).abs().max())
        assert worst <= tolerance, f"{law}: logits differ by {worst:.3g}, more than {tolerance:.3g}"

    def ask(*prefixes: Prefix) -> Tensor:
        return model.forward(list(prefixes), frozenset()).logits

    alone = []
    for tokens in ids:
        kv.clear()
        alone.append(ask(Prefix(tokens))[0])
    uncached = torch.stack(alone)
    kv.clear()
    same(ask(*tree), uncached, "tree == uncached")
    same(ask(*tree), uncached, "asked again == uncached")
    same(torch.cat([ask(x) for x in tree]), uncached, "cached, alone == uncached")
    same(ask(*[Prefix(tokens) for tokens in ids]), uncached, "slots shared with equal tokens == uncached")
    kv.clear()
    same(ask(*reversed(tree)).flip(0), uncached, "evicted and computed again == uncached")
    kv.clear()
    for x, expected in zip(tree, uncached, strict=True):
        same(ask(x)[0], expected, "grown node by node == uncached")
    if hasattr(model, "prefill"):
        kv.clear()
        while model.prefill(tree[-1], 3):
            pass
        same(ask(tree[-1])[0], uncached[-1], "prefilled in chunks == uncached")
    del tree, x
    assert kv.used <= before, f"forgetting frees: {kv.used} slots are still held, {before} were before"


def _random_tree(vocab_size: int, rng: Rng, nodes: int = 10) -> tuple[list[Prefix], list[list[int]]]:
    """Two requests' trees in random order of growth, and the tokens of each node's prefix."""

    def tokens(count: int) -> list[int]:
        return [rng.categorical(torch.ones(vocab_size)) for _ in range(count)]

    tree = [Prefix(tokens(9)), Prefix(tokens(4))]
    while len(tree) < nodes:
        parent = tree[rng.categorical(torch.ones(len(tree)))]
        more = tokens(1 + rng.categorical(torch.ones(3)))
        tree.append(parent.given(more) if rng.flip(0.2) else parent + more)
    return tree, [x.ids() for x in tree]
