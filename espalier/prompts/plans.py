"""Searches whose moves are prompts: plans, tool calls, refinements."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from espalier.errors import require
from espalier.prompts.text_model import TextModel, ask_all, asked
from espalier.rng import Rng

_LINE = re.compile(r"^\s*(?:\d+[.)]|[-*])\s*(.+?)\s*$", re.M)


def plan_search(
    model: TextModel,
    problem: str,
    tests: Callable[[str], float] | None = None,
    *,
    layers: int = 2,
    subset: int = 2,
    leaves: int = 10,
    seed: int = 0,
    **options: Any,
) -> list[str]:
    """Programs made from different plans, best first by `tests`, without repeats: observations about the problem, new ones
    from subsets of them, a solution in words from each subset drawn, a criticised second one, and code from both.

    At most `leaves` subsets are drawn (so at most 2 · leaves programs). Wang et al. 2024 (arXiv 2409.03733).
    """
    require(layers >= 1 and leaves >= 1 and subset >= 0, "layers and leaves are at least 1, subset at least 0")
    rng = Rng(seed)
    known: list[tuple[str, ...]] = [()]
    for _ in range(layers):
        parents = _drawn(known, leaves, rng)
        said = ask_all(model, [_observe(problem, parent) for parent in parents], **options)
        known = [
            (*parent, *some)
            for parent, text in zip(parents, said, strict=True)
            for size in range(subset + 1)
            for some in itertools.combinations(_LINE.findall(text)[:10], size)
        ]
    ideas = _drawn(list(dict.fromkeys(known)), leaves, rng)
    words = ask_all(model, [_solve(problem, idea) for idea in ideas], **options)
    wrong = "This solution is wrong. Say why, and give another one."
    doubted = [f"{_solve(problem, idea)}\n\n{text}\n\n{wrong}" for idea, text in zip(ideas, words, strict=True)]
    second = ask_all(model, doubted, **options)
    plans = list(dict.fromkeys([*words, *second]))
    last = [f"Problem: {problem}\n\nSolution in words:\n{plan}\n\nWrite the program only." for plan in plans]
    codes = ask_all(model, last, **options)
    programs = list(dict.fromkeys(map(_code, codes)))
    return sorted(programs, key=lambda p: -tests(p)) if tests is not None else programs


def _observe(problem: str, chosen: Sequence[str]) -> str:
    known = "".join(f"\n- {each}" for each in chosen)
    return f"Problem: {problem}\n\nKnown observations:{known or ' none'}\n\nList 10 short observations that help, one a line."


def _solve(problem: str, chosen: Sequence[str]) -> str:
    known = "".join(f"\n- {each}" for each in chosen)
    return f"Problem: {problem}\n\nObservations:{known or ' none'}\n\nUsing them, explain a solution in words."


def _drawn(items: list[tuple[str, ...]], most: int, rng: Rng) -> list[tuple[str, ...]]:
    left = list(items)
    while len(left) > most:
        left.pop(rng.categorical(torch.ones(len(left))))
    return left


def _code(text: str) -> str:
    fenced = re.search(r"```(?:\w+)?\n(.*?)```", text, re.S)
    return fenced.group(1) if fenced else text


@dataclass(frozen=True)
class Action:
    """What an environment made of an agent's move: the state after it, what was observed, and whether it ends the search.

    `end`: "answer", "give up", or "" to go on.

    >>> Action("state", "saw 3").end
    ''
    """

    state: Any
    observation: str
    end: str = ""


@dataclass
class Branch:
    """A node of `dfsdt`: the moves and observations down to it.

    >>> Branch().depth
    0
    """

    state: Any = None
    history: tuple[tuple[str, str], ...] = ()
    children: list[Branch] = field(default_factory=list)
    end: str = ""

    @property
    def depth(self) -> int:
        """How many moves led here."""
        return len(self.history)


def dfsdt(
    model: TextModel,
    task: str,
    act: Callable[[Any, str], Action],
    *,
    state: Any = None,
    width: int = 2,
    depth: int = 12,
    queries: int = 200,
    answers: int = 1,
    **options: Any,
) -> list[Branch]:
    """The leaves that answered, found depth first: one move at a time, and where siblings exist, a message that asks for
    another move than theirs. A give-up, or an answer, goes two levels back; a path that is too long one.

    `act(state, move)` is the environment; it returns a new state, so branches do not share one. Qin et al. 2023, ToolLLM
    (arXiv 2307.16789).
    """
    require(min(width, depth, queries, answers) >= 1, "width, depth, queries and answers are at least 1")
    found: list[Branch] = []
    asked_so_far = 0

    def visit(node: Branch) -> int:
        nonlocal asked_so_far
        if node.end == "answer":
            found.append(node)
            return 2
        if node.end == "give up":
            return 2
        if node.depth >= depth:
            return 1
        for _ in range(width):
            if asked_so_far >= queries or len(found) >= answers:
                return 10**9
            asked_so_far += 1
            move = asked(model, _agent(task, node), **options)
            done = act(node.state, move)
            child = Branch(done.state, (*node.history, (move, done.observation)), end=done.end)
            node.children.append(child)
            back = visit(child)
            if len(found) >= answers:
                return 10**9
            if back > 1:
                return back - 1
        return 1

    visit(Branch(state))
    return found


def _agent(task: str, node: Branch) -> str:
    steps = "".join(f"\nMove: {move}\nObservation: {seen}" for move, seen in node.history)
    tried = "".join(f"\n- {c.history[-1][0]} (observed: {c.history[-1][1]})" for c in node.children)
    other = f"\n\nAlready tried here:{tried}\nChoose a different move." if tried else ""
    return f"Task: {task}{steps}{other}\nMove:"


def spar(
    model: TextModel,
    instruction: str,
    *,
    judge: Callable[[str], tuple[bool, str]] | None = None,
    branch: int = 3,
    keep: int = 2,
    depth: int = 3,
    votes: int = 5,
    enough: float = 0.5,
    **options: Any,
) -> str:
    """A response refined over a tree: each of the best `keep` is rewritten `branch` times by its critique, and judged `votes`
    times; a response that more than `enough` of the votes pass is the result, else the best that was seen.

    `judge(response)` gives (passes, critique); the model itself judges unless given. Cheng et al. 2024 (arXiv 2412.11605).
    """
    require(min(branch, keep, depth, votes) >= 1, "branch, keep, depth and votes are at least 1")
    decide = judge or _own_judge(model, instruction, options)

    def judged(response: str) -> tuple[float, str, str]:
        said = [decide(response) for _ in range(votes)]
        value = sum(passed for passed, _ in said) / votes
        major = value > 0.5
        critique = next((text for passed, text in said if passed is major), said[0][1])
        return value, critique, response

    best = judged(asked(model, instruction, **options))
    level = [best]
    for _ in range(depth):
        if best[0] > enough:
            break
        prompts = [
            f"Instruction: {instruction}\n\nResponse: {response}\n\nCritique: {critique}\n\nWrite the improved response only."
            for _, critique, response in level
            for _ in range(branch)
        ]
        fresh = [judged(response) for response in dict.fromkeys(ask_all(model, prompts, **options))]
        level = sorted(fresh, key=lambda item: -item[0])[:keep]
        best = max([best, *level], key=lambda item: item[0])
    return best[2]


def _own_judge(model: TextModel, instruction: str, options: dict[str, Any]) -> Callable[[str], tuple[bool, str]]:
    def judge(response: str) -> tuple[bool, str]:
        said = asked(
            model,
            f"Instruction: {instruction}\n\nResponse: {response}\n\nDoes the response follow the instruction? Answer Yes or "
            "No, then give a critique.",
            **options,
        )
        return said.strip().lower().startswith("yes"), said

    return judge
