"""`bench search --gsm8k FILE --humaneval FILE`: searches on public samples with a real model, all with the same budget."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier import stop as stops
from espalier.bench.methods.decoders import rows
from espalier.bench.methods.decoding_scores import last_number
from espalier.bench.report import emit, machine, show
from espalier.decoders import PGTD, AStar, BestOf, LiteSearch, Phi, Rebase, Search, Steps, choose
from espalier.decoders.steps.candidate import Candidate, Found
from espalier.engine import run
from espalier.errors import EspalierError
from espalier.requests.prompt import raw
from espalier.rng import Rng
from espalier.scorers import unit_tests
from espalier.stop import Stop

if TYPE_CHECKING:
    from espalier.lm import LanguageModel

Score = Callable[[list[Candidate]], Sequence[float]]
ENDS = ("\ndef ", "\nclass ", "\nif ", "\nprint", "\n#", "\n```", "\nassert")


@dataclass(frozen=True)
class Asked:
    """A prompt, how steps of an answer end, what a search may look at, and whether a text is right, which it may not."""

    prompt: Any
    steps: Steps
    score: Score
    right: Callable[[str], bool]
    tokens: int
    ends: tuple[str, ...] = ()
    answer: Callable[[str], Any] | None = None  # what is voted on


def public_tests(prompt: str) -> list[str]:
    """The examples of a docstring as tests.

    >>> public_tests('def f(x):\\n    \"\"\" Doubles.\\n    >>> f(2)\\n    4\\n    \"\"\"\\n')
    ['assert (f(2)) == (4)']
    """
    found = re.findall(r">>> (\w+\(.*\))\s*\n\s*([^\s>].*)", prompt)
    return [f"assert ({call.strip()}) == ({value.strip()})" for call, value in found]


def _humaneval(record: Mapping[str, Any]) -> Asked | None:
    tests = public_tests(record["prompt"])
    if not tests:
        return None
    seen, hidden = unit_tests(tests), unit_tests([f"{record['test']}\ncheck({record['entry_point']})"], timeout=4)

    def whole(text: str) -> str:
        return str(record["prompt"]) + cut(text)

    def score(cs: list[Candidate]) -> list[float]:
        return [s + 1e-3 * c.mean for s, c in zip(seen([whole(c.text) for c in cs]), cs, strict=True)]

    return Asked(raw(record["prompt"]), Steps("\n"), score, lambda text: hidden([whole(text)])[0] == 1, 96, ENDS)


def _gsm8k(record: Mapping[str, Any]) -> Asked:
    right = last_number(record["answer"].rpartition("####")[2])
    ask = f"{record['question']}\nThink step by step, briefly. End with the answer as a number."
    return Asked(
        ask, Steps("\n"), lambda cs: [c.mean for c in cs], lambda text: last_number(text) == right, 120, answer=last_number
    )


def cut(text: str) -> str:
    """The text up to where something else begins.

    >>> cut(" return x\\ndef g(): pass")
    ' return x'
    """
    return text[: min([at for end in ENDS if (at := text.find(end)) >= 0], default=len(text))]


SEARCHES: dict[str, Callable[..., Search]] = {
    "best_of_n": lambda **given: BestOf(1000, **given),
    "rebase": lambda **given: Rebase(8, **given),
    "astar": lambda **given: AStar(4, weight=0.0, **given),
    "phi": lambda **given: Phi(2, 2, **given),
    "litesearch": lambda **given: LiteSearch(enough=0.99, **given),
    "pgtd": lambda **given: PGTD(**given),
}


def text_bench(lm: LanguageModel, files: Mapping[str, Path], limit: int, budget: int, seconds: float) -> None:
    """One JSON line per task and search: the share of problems solved with so many rows; nothing is begun after `seconds`."""
    lines: list[dict[str, Any]] = []
    began = time.perf_counter()
    for name, path in files.items():
        made = [_humaneval(record) if name == "humaneval" else _gsm8k(record) for record in rows(name, path)]
        asked = [one for one in made if one is not None][:limit]
        ways = [*(["greedy"]), *SEARCHES, *(["vote"] if name == "gsm8k" else [])]
        for way in ways:
            solved = tokens = done = 0
            start = time.perf_counter()
            for seed, one in enumerate(asked):
                if time.perf_counter() - began > seconds:
                    break
                done += 1
                text, spent = _answer(lm, way, one, budget, seed)
                solved, tokens = solved + one.right(text), tokens + spent
            if done:
                line = {"task": name, "search": way, "problems": done, "budget": budget, "solved": solved / done}
                lines.append({**line, "tokens": tokens / done, "seconds": round((time.perf_counter() - start) / done, 2)})
                emit([lines[-1]])
    emit([{"bench": "search", "model": lm.name, **machine()}])
    keys = ["task", "search", "problems", "solved", "tokens", "seconds"]
    show(f"public samples, {budget} rows a problem", keys, [[line[key] for key in keys] for line in lines])


def _answer(lm: LanguageModel, way: str, one: Asked, budget: int, seed: int) -> tuple[str, int]:
    """The text that a search settles on, and how many rows it computed."""
    if way == "greedy":
        text = lm.complete(one.prompt, temperature=0, max_tokens=one.tokens, stop=list(one.ends))
        return text.text, len(text.tokens)
    search = SEARCHES["best_of_n" if way == "vote" else way](score=one.score, steps=one.steps, budget=budget)
    x, stop = lm.prompt(one.prompt), _stop(lm, one)
    try:
        [found] = run(search(lm.scorer, x, stop, Rng(seed)))
    except EspalierError:  # the budget ended before anything could be scored
        return "", budget
    assert isinstance(found, Found)
    if way == "vote" and one.answer is not None:
        answers = [one.answer(c.text) for c in found.all]
        if any(answer is not None for answer in answers):
            return choose.vote(found.all, answer=lambda c: one.answer(c.text) if one.answer else None).text, found.stats.tokens
    return found.best.text, found.stats.tokens


def _stop(lm: LanguageModel, one: Asked) -> Stop:
    return stops.end(lm.vocab.end) | stops.budget(one.tokens)
