"""Linear-chain models under a guide: exact Viterbi, normaliser, marginals and samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.constraints.guide import Guide
from espalier.errors import InvalidInput, Unsatisfiable, require

Array = NDArray[np.float64]
_NONE = -math.inf


class Chain:
    """A linear-chain model (a CRF, or an HMM in logs) whose label sequences must be texts of a guide.

    The score of labels y is `Σ emissions[t, y_t] + Σ transitions[y_t, y_t+1] + begin[y_0] + end[y_last]`; `labels[y]` is what
    label y writes. The model runs on pairs of a label and the guide's state, which is deterministic, so every sequence counts
    once. Guarantee: `viterbi`, `log_normaliser`, `marginals` and `sample` are exact for p(y) ∝ exp(score(y)) over the
    sequences that the guide accepts. Cost: length × states met × labels². Papay et al. 2022, "Constraining linear-chain CRFs
    to regular languages" (RegCCRF, arXiv 2106.07306). Raises `Unsatisfiable` if no sequence of this length is accepted.

    >>> import espalier as es
    >>> chain = Chain([[1.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], es.regex("(BI*)?"), labels=["B", "I"])
    >>> chain.viterbi()  # without the guide it were [0, 0]
    ([0, 1], 1.0)
    """

    def __init__(
        self,
        emissions: Any,
        transitions: Any,
        guide: Guide,
        labels: Sequence[str],
        *,
        begin: Any = None,
        end: Any = None,
    ) -> None:
        self.emissions, self.transitions = np.asarray(emissions, dtype=float), np.asarray(transitions, dtype=float)
        n = len(labels)
        right = self.emissions.ndim == 2 and self.emissions.shape[1] == n and self.transitions.shape == (n, n)
        shapes = f"emissions {list(self.emissions.shape)}, transitions {list(self.transitions.shape)} for {n} labels"
        require(right and n > 0 and len(self.emissions) > 0, f"chain: {shapes}; expected [length, {n}] and [{n}, {n}]")
        self.begin = np.zeros(n) if begin is None else np.asarray(begin, dtype=float)
        self.end = np.zeros(n) if end is None else np.asarray(end, dtype=float)
        require(self.begin.shape == self.end.shape == (n,), f"chain: begin and end are vectors of {n} scores")
        if np.isnan(self.emissions).any() or np.isnan(self.transitions).any():
            raise InvalidInput("chain: a score is nan; use -inf for what cannot be")
        if not isinstance(guide, Guide):
            raise InvalidInput(f"chain: {guide!r} is no guide; write es.regex('(BI*|O)*') over the labels' texts")
        self.guide, self.labels = guide, tuple(labels)
        self._layers = self._followed()
        self._back = self._backward()

    def _followed(self) -> list[dict[tuple[int, Any], list[tuple[int, Any]]]]:
        """For each step but the last: the pairs (label, state) and those that may follow; for the last: those that may end."""
        engine, data = self.guide.engine, [label.encode() for label in self.labels]
        first = [(y, engine.advance(engine.start(), text)) for y, text in enumerate(data)]
        layers: list[dict[tuple[int, Any], list[tuple[int, Any]]]] = []
        level = [pair for pair in first if pair[1] is not None]
        after: dict[Any, list[tuple[int, Any]]] = {}
        for _ in range(len(self.emissions) - 1):
            ways: dict[tuple[int, Any], list[tuple[int, Any]]] = {}
            for pair in level:
                if pair[1] not in after:
                    found = [(y, engine.advance(pair[1], text)) for y, text in enumerate(data)]
                    after[pair[1]] = [way for way in found if way[1] is not None]
                ways[pair] = after[pair[1]]
            layers.append(ways)
            level = list(dict.fromkeys(way for found in ways.values() for way in found))
        layers.append({pair: [] for pair in level if engine.accepts(pair[1])})
        return layers

    def _messages(self, join: Any) -> list[dict[tuple[int, Any], float]]:
        """For each step and pair: what the rest of the sequence is worth, joined over its ways by sum or maximum in logs."""
        back: list[dict[tuple[int, Any], float]] = [{pair: float(self.end[pair[0]]) for pair in self._layers[-1]}]
        for t in range(len(self.emissions) - 2, -1, -1):
            here: dict[tuple[int, Any], float] = {}
            for pair, ways in self._layers[t].items():
                worth = [self._step(t, pair[0], way) + back[0][way] for way in ways if way in back[0]]
                if worth:
                    here[pair] = join(worth)
            back.insert(0, here)
        return back

    def _step(self, t: int, label: int, way: tuple[int, Any]) -> float:
        return float(self.transitions[label, way[0]] + self.emissions[t + 1, way[0]])

    def _first(self, back: list[dict[tuple[int, Any], float]]) -> dict[tuple[int, Any], float]:
        return {pair: float(self.begin[pair[0]] + self.emissions[0, pair[0]]) + rest for pair, rest in back[0].items()}

    def _backward(self) -> list[dict[tuple[int, Any], float]]:
        back = self._messages(_logsumexp)
        if not back[0] or max(self._first(back).values()) == _NONE:
            raise Unsatisfiable(f"chain: no sequence of {len(self.emissions)} labels is a text of {self.guide!r}")
        return back

    @property
    def log_normaliser(self) -> float:
        """log Σ exp(score(y)) over the sequences that the guide accepts.

        >>> import espalier as es
        >>> round(Chain([[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], es.regex("a|b"), ["a", "b"]).log_normaliser, 4)
        0.6931
        """
        return _logsumexp(list(self._first(self._back).values()))

    def viterbi(self) -> tuple[list[int], float]:
        """The labels with the greatest score among those that the guide accepts, and that score; of equals the first."""
        back = self._messages(max)
        worth = self._first(back)
        pair, score = _best(worth)
        labels = [pair[0]]
        for t in range(len(self.emissions) - 1):
            ways = {way: self._step(t, pair[0], way) + back[t + 1][way] for way in self._layers[t][pair] if way in back[t + 1]}
            pair, _ = _best(ways)
            labels.append(pair[0])
        return labels, score

    def sample(self, rng: Any) -> list[int]:
        """Labels drawn from p(y) ∝ exp(score(y)) over the sequences that the guide accepts; flips come from the `Rng`."""
        import torch

        labels: list[int] = []
        worth = self._first(self._back)
        for t in range(len(self.emissions)):
            pairs, logs = list(worth), torch.tensor(list(worth.values()), dtype=torch.float64)
            pair = pairs[rng.categorical((logs - logs.max()).exp())]
            labels.append(pair[0])
            if t + 1 < len(self.emissions):
                rest = self._back[t + 1]
                worth = {way: self._step(t, pair[0], way) + rest[way] for way in self._layers[t][pair] if way in rest}
        return labels

    def marginals(self) -> Array:
        """[length, labels] probabilities of each label at each step, over the sequences that the guide accepts."""
        total, found = self.log_normaliser, np.zeros_like(self.emissions)
        front = {pair: float(self.begin[pair[0]] + self.emissions[0, pair[0]]) for pair in self._back[0]}
        for t in range(len(self.emissions)):
            for pair, worth in front.items():
                found[t, pair[0]] += math.exp(worth + self._back[t][pair] - total)
            if t + 1 < len(self.emissions):
                after: dict[tuple[int, Any], list[float]] = {}
                for pair, worth in front.items():
                    for way in self._layers[t][pair]:
                        if way in self._back[t + 1]:
                            after.setdefault(way, []).append(worth + self._step(t, pair[0], way))
                front = {way: _logsumexp(parts) for way, parts in after.items()}
        return found


def _best(worth: dict[tuple[int, Any], float]) -> tuple[tuple[int, Any], float]:
    pair = min(worth, key=lambda pair: (-worth[pair], pair[0]))
    return pair, worth[pair]


def _logsumexp(logs: Sequence[float]) -> float:
    top = max(logs)
    return top if top == _NONE else top + math.log(math.fsum(math.exp(log - top) for log in logs))
