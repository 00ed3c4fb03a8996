"""A trace: the conversation between decoders and models, pass by pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from espalier.prefix import Prefix
from espalier.scorer import Ask, Model


@dataclass(slots=True)
class Node:
    """A prefix that a decoder asked about: its tokens beyond its parent in the question, and whether it was kept."""

    tokens: tuple[int, ...]
    parent: int | None
    kept: bool = False


@dataclass(slots=True)
class Pass:
    """One forward pass: which model, when it ended (seconds after the trace began), what each decoder asked, what was kept.

    `questions[i]` is a tree of nodes, the parent before its children; node 0 stands for the text so far, and its tokens are
    that text's last ones. `kept` are the tokens that settled after the pass.
    """

    model: Model
    seconds: float
    questions: list[list[Node]]
    kept: list[int] = field(default_factory=list)

    @property
    def nodes(self) -> int:
        """How many rows were asked for."""
        return sum(map(len, self.questions))


class Conversation:
    """What `run(…, trace=conversation)` writes into `passes`: every forward pass, what it was asked and what was kept of it.

    >>> import espalier as es
    >>> model, said = es.models.Table.random(vocab_size=4, depth=2, seed=0), Conversation()
    >>> [x] = es.run(es.sample(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)), trace=said)
    >>> [p.nodes for p in said.passes], [t for p in said.passes for t in p.kept] == x.written()
    ([1, 1, 1], True)
    """

    def __init__(self, tail: int = 4) -> None:
        self.tail, self.passes = tail, list[Pass]()
        self._start = time.perf_counter()
        self._nodes: dict[Prefix, Node] = {}  # of the last pass; nothing older is held

    def __call__(self, event: str, what: Any) -> None:
        if event == "pass":
            model, asks, _ = what
            self._nodes = {}
            questions = [self._question(ask) for ask in asks]
            self.passes.append(Pass(model, time.perf_counter() - self._start, questions))
        elif event == "keep" and self.passes:
            _, prefix = what
            self.passes[-1].kept.extend(prefix.tokens)
            if prefix in self._nodes:
                self._nodes[prefix].kept = True

    def _question(self, ask: Ask) -> list[Node]:
        places: dict[Prefix, int] = {}
        nodes: list[Node] = []
        for x in ask.prefixes:
            if not isinstance(x, Prefix):  # another kind of question has no place in a tree of tokens
                continue
            parent = places.get(x.parent) if x.parent is not None else None
            places[x] = len(nodes)
            tokens = x.tokens if parent is not None else tuple(x.tail(self.tail))
            nodes.append(Node(tokens, parent))
            self._nodes[x] = nodes[-1]
        return nodes


def branches(question: Sequence[Node]) -> list[list[Node]]:
    """The paths from below the text so far to each leaf of a question, in the order of the leaves.

    >>> [[node.tokens for node in path] for path in branches([Node((1,), None), Node((2,), 0), Node((3,), 1), Node((4,), 0)])]
    [[(2,), (3,)], [(4,)]]
    """
    parents = {node.parent for node in question}
    paths = []
    for at, node in enumerate(question):
        if at in parents or node.parent is None:
            continue
        path = [node]
        while (above := path[-1].parent) is not None and question[above].parent is not None:
            path.append(question[above])
        paths.append(path[::-1])
    return paths
