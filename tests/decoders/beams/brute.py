"""All finished texts of a small table, with their log-probabilities."""

from __future__ import annotations

import math

import espalier as es

X = es.Prefix([0])
END = 2


def stop(length: int) -> es.stop.Stop:
    return es.stop.end([END]) | es.stop.budget(length)


def texts(model: es.models.Table, length: int, end: int = END) -> dict[tuple[int, ...], float]:
    """Every text that ends, or is cut at this length, with log p."""
    found: dict[tuple[int, ...], float] = {}

    def walk(written: tuple[int, ...], logp: float) -> None:
        if written and (written[-1] == end or len(written) == length):
            found[written] = logp
            return
        context = [*X.ids(), *written]
        row = model.row(tuple(context[max(0, len(context) - model.depth) :])).log_softmax(-1)
        for token, p in enumerate(row.tolist()):
            if p > -math.inf:
                walk((*written, token), logp + p)

    walk((), 0.0)
    return found
