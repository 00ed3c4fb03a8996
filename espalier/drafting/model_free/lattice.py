"""Rescored lattices: candidates of many positions at once, and the paths through them that an n-gram model likes best."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeAlias

from espalier.drafting.draft import Draft, Drafter, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows

__all__ = ["Column", "Lattice", "best_paths"]

Column: TypeAlias = "dict[int, float]"  # a position's candidates, and the log-probability of each


class Lattice(PerText):
    """The `paths` best ways through the candidates that the last pass gave of the positions ahead, as a tree.

    The rows behind the settled text say, for each position of the window, `top` candidates; they were computed under guesses
    and know nothing of each other. A bigram model of the text so far rescores all ways through them together: the sum of the
    rows' log-probabilities and `weight` times the bigrams' (tested by `test_the_best_paths_of_a_lattice_are_those_of_all`).
    Positions nothing is known of follow the bigrams. Kim et al. 2024, "Towards fast inference: exploring and improving
    blockwise parallel drafts" (arXiv 2404.09221); there trained heads give the candidates, here a Jacobi window does.

    >>> import espalier as es
    >>> model, greedy = es.models.Table.random(vocab_size=3, depth=1, seed=2), es.verification.GreedyMatch()
    >>> [x] = es.run(es.speculate(model, es.Prefix([0]), es.stop.budget(12), Lattice(4), greedy, es.Rng(0)))
    >>> len(x.written()), model.passes <= 12
    (12, True)
    """

    def __init__(self, tokens: int = 5, top: int = 4, paths: int = 3, weight: float = 1.0) -> None:
        budget(tokens=tokens, top=top, paths=paths)
        require(weight >= 0, f"weight={weight}: how much the bigrams count, 0 or more")
        self.tokens, self.top, self.paths, self.weight = tokens, top, paths, weight

    def begin(self, x: Prefix) -> Drafter:
        return _Window(self)


class _Window(ModelFree):
    def __init__(self, settings: Lattice) -> None:
        self.settings, self._text, self._columns = settings, Reading(), list[Column]()
        self._after: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, draft = self.settings, Draft(x)
        known = self._text.read(x)
        if not known:
            self._after.clear()
        ids = self._text.ids
        for at in range(max(1, known), len(ids)):
            self._after[ids[at - 1]][ids[at]] += 1
        if not ids:
            return draft
        for path in best_paths(ids[-1], self._columns[: s.tokens], self._bigram, s.weight, s.paths) or [[]]:
            whole = list(path)
            while len(whole) < s.tokens:  # what nothing is known of: the most frequent successor
                after = self._after.get(whole[-1] if whole else ids[-1])
                whole.append(after.most_common(1)[0][0] if after else (whole or ids)[-1])
            draft.extend(0, whole)
        return draft

    def _bigram(self, before: int, token: int) -> float:
        """log of a smoothed relative frequency; a pair that was not seen counts as half an occurrence."""
        after = self._after.get(before, Counter[int]())
        return math.log((after[token] + 0.5) / (after.total() + 0.5 * (len(after) + 1)))

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        settled, self._columns, node, first = draft.gained(x), [], 0, [0]
        while draft.children[node]:  # the best path, which was proposed first
            node = draft.children[node][0]
            first.append(node)
        for place in first[settled:] if settled else ():
            values, tokens = rows.logits[place].float().log_softmax(-1).topk(min(self.settings.top, rows.logits.shape[-1]))
            self._columns.append(dict(zip(tokens.tolist(), values.tolist(), strict=True)))


def best_paths(
    last: int, columns: Sequence[Column], bigram: Callable[[int, int], float], weight: float, paths: int
) -> list[list[int]]:
    """The `paths` best ways through the columns, best first, behind the token `last`: exact for scores of pairs.

    `bigram(before, token)` is added `weight` times to each candidate's own log-probability.

    >>> best_paths(0, [{1: -1.0, 2: -2.0}, {3: -1.0}], lambda a, b: 0.0, 1.0, 2)
    [[1, 3], [2, 3]]
    """
    ways: dict[int, list[tuple[float, list[int]]]] = {last: [(0.0, [])]}  # the best ways that end in a token
    for column in columns:
        longer = dict[int, list[tuple[float, list[int]]]]()
        for token, logp in column.items():
            all_ways = [
                (score + logp + weight * bigram(before, token), [*path, token])
                for before, known in ways.items()
                for score, path in known
            ]
            longer[token] = sorted(all_ways, key=lambda way: -way[0])[:paths]
        ways = longer
    found = sorted((way for known in ways.values() for way in known), key=lambda way: -way[0])[:paths]
    return [path for _, path in found if path]
