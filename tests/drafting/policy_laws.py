"""What the tests of drafting policies share: a drafter made of two policies, and verification of drawn trees."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import espalier as es
from espalier.drafting import Drafter
from espalier.drafting.policies import Constant, LengthPolicy, TreePolicy, grow
from espalier.testing import assert_same_law, exact_law

PROMPT = es.Prefix([0, 1])


class Grown(Drafter):
    """A draft-model drafter: a scorer, a tree policy and a length policy."""

    def __init__(self, scorer: es.Scorer, tree: TreePolicy, length: LengthPolicy | None = None) -> None:
        self.scorer, self.tree, self.length = scorer, tree, length or Constant(99)
        self.kind = tree.kind

    def begin(self, x):  # type: ignore[no-untyped-def]
        return Grown(self.scorer, self.tree.begin(x), self.length.begin(x))

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        return (yield from grow(self.scorer, x, self.tree, self.length, rng))

    def observe(self, x, draft, rows):  # type: ignore[no-untyped-def]
        self.tree.observe(x, draft, rows)
        self.length.observe(x, draft, rows)


def law_of(scorer, drafter, verifier, length):  # type: ignore[no-untyped-def]
    """The exact law of the written tokens under speculation; `drafter` makes a fresh one for every run."""
    stop = es.stop.budget(length)
    key = lambda x: tuple(x.written())  # noqa: E731
    return exact_law(lambda rng: es.speculate(scorer, PROMPT, stop, drafter(), verifier, rng), key)


def assert_lossless(scorer, drafter, verifier, length=2):  # type: ignore[no-untyped-def]
    """The law of speculation is the product of the rows' laws."""
    assert_same_law(law_of(scorer, drafter, verifier, length), enumerated(scorer, length))


def enumerated(scorer, length):  # type: ignore[no-untyped-def]
    """The product of the rows' laws, without any decoder."""
    law = {}
    for tokens in itertools.product(range(scorer.vocab_size), repeat=length):
        x, p = PROMPT, 1.0
        for token in tokens:
            [row] = es.run(_row(scorer, x))
            p *= float(row[token])
            x = x + token
            if p == 0:
                break
        law[tokens] = p
    return law


def _row(scorer, x):  # type: ignore[no-untyped-def]
    rows = yield es.Ask(scorer, [x])
    return rows[0].probs()


def all_trees(slots: int, width: int) -> Iterator[list[tuple[int, ...]]]:
    """All prefix-closed trees of this many slots whose nodes have at most `width` children, as paths of child numbers."""

    def extend(tree: frozenset[tuple[int, ...]]) -> Iterator[frozenset[tuple[int, ...]]]:
        for node in {(), *tree}:
            children = sum(1 for path in tree if path[:-1] == node and len(path) == len(node) + 1)
            if children < width:
                yield tree | {(*node, children)}

    trees = {frozenset()}
    for _ in range(slots):
        trees = {bigger for tree in trees for bigger in extend(tree)}
    yield from (sorted(tree) for tree in trees)
