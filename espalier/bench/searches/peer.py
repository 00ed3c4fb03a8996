"""`bench faithful --peer PYTHON`: our samplers beside genlm-control's on small cases whose law is enumerated."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espalier.bench.report import emit, show
from espalier.bench.searches import genlm_peer
from espalier.decoders.budget import Budget, Spent
from espalier.decoders.faithful import CARS, SMC
from espalier.decoders.faithful.particles import shares
from espalier.engine import run
from espalier.errors import LimitExceeded, LoadError, Unsatisfiable
from espalier.models.table import Table
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.stop import Stop, budget, end
from espalier.token_constraint import TokenConstraint

Text = tuple[int, ...]
Law = dict[Text, float]


@dataclass(frozen=True)
class Case:
    """Valid texts over few letters (the last one ends a text), and the rows of a table model."""

    name: str
    texts: Sequence[str]
    row: Callable[[int], list[float]]  # after the last token; 0 stands before the text
    letters: str
    length: int

    @property
    def tokens(self) -> set[Text]:
        """The valid texts as tokens."""
        return {tuple(map(self.letters.index, text)) for text in self.texts}

    @property
    def model(self) -> Table:
        """The model, in logits."""
        return Table(len(self.letters), 1, lambda context: torch.tensor(self.row(context[-1])).double().log())

    def law(self) -> Law:
        """p(text | valid), enumerated."""
        mass = {t: math.prod(self.row(a)[b] for a, b in zip((0, *t), t, strict=False)) for t in self.tokens}
        return {text: p / math.fsum(mass.values()) for text, p in mass.items()}


def _after(first: list[float], a: list[float], b: list[float]) -> Callable[[int], list[float]]:
    return lambda last: first if last == 0 else a if last == 1 else b


CASES = [
    Case("trap", ["ab$", "b$", "bb$"], _after([0, 0.9, 0.1, 0], [0, 0.999, 5e-4, 5e-4], [0, 0.3, 0.3, 0.4]), "^ab$", 3),
    Case("brackets", ["$", "()$", "()()$", "(())$"], lambda last: [0, 0.6, 0.3, 0.1], "^()$", 5),
    Case("early end", ["a$", "aaa$"], lambda last: [0, 0.3, 0.1, 0.6], "^ab$", 4),
    Case("flat", ["a$", "b$"], _after([0, 1e-6, 1e-6, 1 - 2e-6], [0, 0.1, 0.1, 0.8], [0, 0.495, 0.495, 0.01]), "^ab$", 2),
]


class _Texts(TokenConstraint):
    exactness = "exact"

    def __init__(self, texts: set[Text], vocab_size: int) -> None:
        self.beginnings, self.vocab_size = {text[:n] for text in texts for n in range(len(text) + 1)}, vocab_size

    def start(self) -> Text:
        return ()

    def advance(self, state: Text, token: int) -> Text | None:
        return (*state, token) if (*state, token) in self.beginnings else None

    def mask(self, state: Text) -> Tensor:
        return torch.tensor([(*state, token) in self.beginnings for token in range(self.vocab_size)])


def peer_bench(python: Path, particles: int, runs: int) -> None:
    """One JSON line per case and sampler: total variation of the mean law of its runs, passes, rows, and how often all died."""
    lines: list[dict[str, Any]] = []
    for case in CASES:
        theirs = _theirs(python, case, particles, runs)
        passes = math.ceil(sum(each["calls"] for each in theirs) / runs)
        told = [("genlm-control AWRS + SMC", theirs), ("SMC", _ours(case, _smc(case, particles), runs))]
        told.append(("CARS, as many passes", _ours(case, _cars(case, particles, passes), runs)))
        for name, found in told:
            line = {"case": case.name, "sampler": name, "particles": particles, "runs": runs, **_summary(found, case.law())}
            lines.append(line)
            emit([line])
    keys = ["case", "sampler", "tv", "passes", "positions", "dead"]
    show(f"beside genlm-control, {particles} particles, {runs} runs", keys, [[line[key] for key in keys] for line in lines])


def _theirs(python: Path, case: Case, particles: int, runs: int) -> list[dict[str, Any]]:
    contexts = range(len(case.letters))
    question = {
        "texts": sorted(case.tokens),
        "rows": {str(last): case.row(last) for last in contexts},
        "depth": 1,
        "end": len(case.letters) - 1,
        "length": case.length,
        "particles": particles,
        "runs": runs,
    }
    told = subprocess.run(
        [str(python), "-P", genlm_peer.__file__], input=json.dumps(question), capture_output=True, text=True, timeout=600
    )
    if told.returncode:
        raise LoadError(f"--peer {python}: genlm-control did not run: {told.stderr.strip().splitlines()[-1:]}")
    found: list[dict[str, Any]] = json.loads(told.stdout.strip().splitlines()[-1])["runs"]
    for each in found:
        each["law"] = {tuple(map(int, key.split(","))): weight for key, weight in each["law"].items()}
    return found


Sampler = Callable[[int], "Decoder[tuple[Law, Spent]]"]


def _smc(case: Case, particles: int) -> Sampler:
    def once(seed: int) -> Decoder[tuple[Law, Spent]]:
        spent = Spent(Budget())
        populations = SMC(particles, guide=_guide(case)).populations(case.model, Prefix([0]), _stop(case), Rng(seed), spent)
        yield from populations.advance()
        pool, law = populations.pooled(), Law()
        for p, share in zip(pool, shares(pool).tolist(), strict=True):
            if share > 0:
                law[tuple(p.prefix.written())] = law.get(tuple(p.prefix.written()), 0.0) + share
        return law, spent

    return once


def _cars(case: Case, n: int, passes: int) -> Sampler:
    def once(seed: int) -> Decoder[tuple[Law, Spent]]:
        decoder = CARS(_guide(case), n=n, budget=Budget(passes=max(1, passes)))
        attempts, law = decoder.attempts(case.model, Prefix([0]), _stop(case), Rng(seed)), Law()
        valid = yield from attempts.collect(n)
        for each in valid:
            text = tuple(each.node.prefix.written())
            law[text] = law.get(text, 0.0) + 1 / len(valid)
        return law, attempts.spent

    return once


def _guide(case: Case) -> _Texts:
    return _Texts(case.tokens, len(case.letters))


def _stop(case: Case) -> Stop:
    return end([len(case.letters) - 1]) | budget(case.length)


def _ours(case: Case, sampler: Sampler, runs: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for seed in range(runs):
        try:
            [(law, spent)] = run(sampler(seed))
        except (LimitExceeded, Unsatisfiable):
            law, spent = Law(), Spent()
        found.append({"law": law, "calls": spent.passes, "positions": spent.tokens, "dead": not law})
    return found


def _summary(runs: list[dict[str, Any]], true: Law) -> dict[str, Any]:
    alive = [each["law"] for each in runs if not each["dead"]]
    mean = {text: math.fsum(law.get(text, 0.0) for law in alive) / max(len(alive), 1) for text in true}
    tv = 0.5 * (math.fsum(abs(mean[text] - p) for text, p in true.items()) + max(0.0, 1 - math.fsum(mean.values())))
    calls, positions, dead = (sum(each[key] for each in runs) / len(runs) for key in ("calls", "positions", "dead"))
    return {"tv": round(tv, 4), "passes": calls, "positions": positions, "dead": dead}
