"""Small constraints and models where masking step by step is badly wrong, and the enumeration of p(text | text is valid)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import espalier as es
from espalier.errors import LimitExceeded
from espalier.testing import outcomes

X = es.Prefix([0])
Text = tuple[int, ...]


class Texts:
    """The constraint of a finite set of token sequences; states are what has been written. With `checks` it has no mask."""

    exactness = "exact"

    def __init__(self, texts: list[Text], vocab_size: int, checks: bool = False) -> None:
        self.texts, self.vocab_size = set(texts), vocab_size
        self.beginnings = {text[:n] for text in texts for n in range(len(text) + 1)}
        self.checks = checks

    def start(self) -> Text:
        return ()

    def advance(self, state: Text, token: int) -> Text | None:
        after = (*state, token)
        return after if after in self.beginnings else None

    def allowed(self, state: Text, token: int) -> bool:
        return (*state, token) in self.beginnings

    def mask(self, state: Text) -> Tensor | None:
        if self.checks:
            return None
        return torch.tensor([self.allowed(state, token) for token in range(self.vocab_size)])


@dataclass
class Case:
    model: es.models.Table
    law: Texts
    stop: es.stop.Stop
    length: int
    end: int

    def true(self) -> tuple[dict[Text, float], float]:
        """p(text | valid), and p(valid)."""
        mass = {}
        for text in self.law.texts:
            p, context = 1.0, [0]
            for token in text:
                p *= float(self.model.row(tuple(context[max(0, len(context) - self.model.depth) :])).softmax(-1)[token])
                context.append(token)
            if len(text) <= self.length and p > 0:
                mass[text] = p
        z = math.fsum(mass.values())
        return {text: p / z for text, p in mass.items()}, z


def case(texts: list[str], row: Callable[[tuple[int, ...]], list[float]], depth: int, length: int, letters: str) -> Case:
    """Texts in letters, the last of which ends a text; `row` gives probabilities."""
    end = len(letters) - 1
    model = es.models.Table(len(letters), depth, lambda context: torch.tensor(row(context)).double().log())
    law = Texts([tuple(map(letters.index, text)) for text in texts], len(letters))
    return Case(model, law, es.stop.end([end]) | es.stop.budget(length), length, end)


def trap() -> Case:
    """A likely beginning, behind which only a thousandth is valid."""

    def row(context):
        if context[-1] == 0:  # the prompt
            return [0.0, 0.9, 0.1, 0.0]
        return [0.0, 0.999, 0.0005, 0.0005] if context[-1] == 1 else [0.0, 0.3, 0.3, 0.4]

    return case(["ab$", "b$", "bb$"], row, 1, 3, "^ab$")


def dyck() -> Case:
    """Balanced brackets of a model that likes to open them."""
    texts = ["$", "()$", "()()$", "(())$"]
    return case(texts, lambda context: [0.0, 0.6, 0.3, 0.1], 0, 5, "^()$")


def early_end() -> Case:
    """Ending at once is likely where the constraint allows it, and where it does not."""
    return case(["a$", "aaa$"], lambda context: [0.0, 0.3, 0.1, 0.6], 0, 4, "^ab$")


def flat() -> Case:
    """One token in a million is allowed at first, and then one of two is likely to fail."""

    def row(context):
        if context[-1] == 0:
            return [0.0, 1e-6, 1e-6, 1 - 2e-6]
        return [0.0, 0.1, 0.1, 0.8] if context[-1] == 1 else [0.0, 0.495, 0.495, 0.01]

    return case(["a$", "b$"], row, 1, 2, "^ab$")


CASES = {"trap": trap, "dyck": dyck, "early end": early_end, "flat": flat}


def law_of_first(decoder: Callable[[es.Rng], es.run.Decoder], limit: int = 200_000) -> tuple[dict[Text, float], float, float]:  # type: ignore[valid-type]
    """The exact law of the first find of fresh instances; the mass of runs that found nothing; the mean of exp(log_weight)."""
    law: dict[Text, float] = {}
    nothing = 0.0

    def once(rng: es.Rng) -> Text | None:
        try:
            [found] = es.run(decoder(rng))
        except LimitExceeded:
            return None
        return tuple(found[0].prefix.written())

    for p, text in outcomes(once, limit):
        if text is None:
            nothing += p
        else:
            law[text] = law.get(text, 0.0) + p
    total = math.fsum(law.values())
    return {text: p / total for text, p in law.items()}, nothing, total


def distance(a: dict[Text, float], b: dict[Text, float]) -> float:
    """Total variation."""
    return 0.5 * sum(abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in a.keys() | b.keys())
