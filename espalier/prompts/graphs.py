"""Answers made of parts that are written side by side: skeletons and skeleton graphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from espalier.errors import InvalidInput, require
from espalier.prompts.text_model import TextModel, ask_all, asked

_POINT = re.compile(r"^\s*(\d+)[.)]\s*(.+?)\s*$", re.M)
_NODE = re.compile(r"^\s*(\d+)[.)]\s*(.+?)(?:\s*\[after ([\d, ]+)\])?(?:\s*\[(easy|hard)\])?\s*$", re.M)


def skeleton(model: TextModel, question: str, suits: Callable[[str], bool] | None = None, **options: object) -> str:
    """An answer in points: a skeleton of a few words each, then all points at once, joined in their order.

    `suits(question)` may send questions that are no list to one plain call. Ning et al. 2023 (arXiv 2307.15337).
    """
    if suits is not None and not suits(question):
        return asked(model, question, **options)
    plan = asked(
        model,
        f"Question: {question}\n\nWrite only the skeleton of the answer: 3 to 10 numbered points of 3 to 5 words each.",
        **options,
    )
    points = _POINT.findall(plan)
    if not points:
        return asked(model, question, **options)
    listed = "\n".join(f"{number}. {point}" for number, point in points)
    prompts = [
        f"Question: {question}\n\nSkeleton of the answer:\n{listed}\n\nWrite only point {number} in 1 or 2 sentences."
        f"\n\n{number}. {point}"
        for number, point in points
    ]
    bodies = ask_all(model, prompts, **options)
    return "\n".join(f"{number}. {point} {body.strip()}" for (number, point), body in zip(points, bodies, strict=True))


@dataclass(frozen=True)
class Node:
    """One part of a graph: its text, the parts it needs, whether the small model may write it.

    >>> Node("define terms").needs
    ()
    """

    text: str
    needs: tuple[int, ...] = ()
    easy: bool = False


@dataclass(frozen=True)
class Graph:
    """Parts that depend on each other. `levels` are the parts that can be written at the same time, in order.

    Raises `InvalidInput` for a circle, or a need that is no part.

    >>> Graph({1: Node("a"), 2: Node("b"), 3: Node("c", (1, 2))}).levels()
    [[1, 2], [3]]
    """

    nodes: dict[int, Node] = field(default_factory=dict)

    def levels(self) -> list[list[int]]:
        """The parts level by level: each after all that it needs."""
        unknown = {need for node in self.nodes.values() for need in node.needs} - self.nodes.keys()
        require(not unknown, f"parts need {sorted(unknown)}, which are no parts")
        done: set[int] = set()
        found: list[list[int]] = []
        while len(done) < len(self.nodes):
            ready = [n for n, node in self.nodes.items() if n not in done and set(node.needs) <= done]
            if not ready:
                raise InvalidInput(f"parts {sorted(self.nodes.keys() - done)} need each other in a circle")
            found.append(ready)
            done.update(ready)
        return found


def skeleton_graph(model: TextModel, question: str, small: TextModel | None = None, **options: object) -> str:
    """An answer in parts that may need each other: the parts of one level are written at once, easy ones by the small model.

    A part sees what the parts it needs have said. Jin et al. 2024 (arXiv 2402.12280).
    """
    plan = asked(
        model,
        f"Question: {question}\n\nSplit the answer into numbered parts, one a line. Behind a part write [after 1, 2] if it "
        "needs parts 1 and 2, and [easy] or [hard].",
        **options,
    )
    nodes = {
        int(n): Node(text, tuple(int(m) for m in after.replace(" ", "").split(",") if m), level == "easy")
        for n, text, after, level in _NODE.findall(plan)
    }
    if not nodes:
        return asked(model, question, **options)
    graph, written = Graph(nodes), dict[int, str]()
    for level in graph.levels():
        for writer, chosen in ((small or model, True), (model, False)):
            batch = [n for n in level if nodes[n].easy is chosen]
            prompts = [_part(question, n, nodes, written) for n in batch]
            written.update(zip(batch, ask_all(writer, prompts, **options), strict=True))
    return "\n".join(f"{n}. {nodes[n].text} {written[n].strip()}" for n in nodes)


def _part(question: str, n: int, nodes: dict[int, Node], written: dict[int, str]) -> str:
    known = "".join(f"\n{m}. {nodes[m].text} {written[m].strip()}" for m in nodes[n].needs)
    return f"Question: {question}\n\nKnown:{known or ' nothing yet'}\n\nWrite only part {n}: {nodes[n].text}"
