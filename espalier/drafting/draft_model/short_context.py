"""Drafting with a short context for a target with a long one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from espalier.drafting.draft_model.row_cache import Remembered
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.scorer import Answer, Ask, Scorer
from espalier.shaper import Stage
from espalier.shaping.second_stream import SecondStream, twins

Select = Callable[[Sequence[int]], list[int]]


def ends(head: int = 32, tail: int = 256) -> Select:
    """Keeps the first `head` and the last `tail` tokens of a prompt."""
    require(head >= 0 and tail >= 1, f"head={head}, tail={tail}: need head ≥ 0 and tail ≥ 1")
    return lambda ids: list(ids) if len(ids) <= head + tail else [*ids[:head], *ids[len(ids) - tail :]]


def relevant(chunks: int = 4, size: int = 64, query: int = 32, head: int = 32) -> Select:
    """Keeps the first `head` and the last `query` tokens, and between them the chunks that share most with the latter.

    A chunk of `size` tokens counts for the query's tokens in it, rare tokens for more: Σ log(chunks / chunks that have it).
    The kept chunks stay in their order.
    """
    require(min(chunks, size, query) >= 1 and head >= 0, "chunks, size and query are at least 1, head at least 0")

    def select(ids: Sequence[int]) -> list[int]:
        middle = list(ids[head : max(head, len(ids) - query)])
        parts = [middle[i : i + size] for i in range(0, len(middle), size)]
        if len(parts) <= chunks:
            return list(ids)
        having = Counter(token for part in parts for token in set(part))
        wanted = set(ids[len(ids) - query :])
        worth = [sum(math.log(len(parts) / having[token]) for token in wanted & set(part)) for part in parts]
        best = sorted(sorted(range(len(parts)), key=lambda i: -worth[i])[:chunks])
        return [*ids[:head], *(token for i in best for token in parts[i]), *ids[len(ids) - query :]]

    return select


class Shortened(SecondStream):
    """Answers as `inner` does after a prompt of which only `select(prompt)` is left, followed by what was written.

    Give it to `DraftModel` as the drafter for a long prompt: its passes read few keys and values. Rows are not those of the
    long prompt, so it is a drafter and no substitute. Chen et al. 2025, "RAPID" (arXiv 2502.20330).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=9, depth=9, seed=0)
    >>> short = Shortened(model, ends(head=1, tail=2))
    >>> x = es.Prefix([1, 2, 3, 4, 5]) + 6
    >>> short.prefix(x).ids()
    [1, 4, 5, 6]
    """

    def __init__(self, inner: Scorer, select: Select | None = None) -> None:
        keep = select or ends()
        super().__init__(inner, twins(lambda origin: Prefix(keep(origin.ids())), written=True))


class Enriched(Scorer):
    """RAPID's target law: logits z + eta · (q - p), a step of the target towards a drafter that sees what matters.

    p and q are the laws of `target` and `drafter` at temperature 1. Not the target's own law unless eta = 0: what is verified
    against it is lossless with respect to it. Chen et al. 2025, "RAPID" (arXiv 2502.20330).

    >>> import espalier as es
    >>> target, drafter = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (2, 1))
    >>> [x] = es.run(es.sample(Enriched(target, drafter, eta=0.0), es.Prefix([1]), es.stop.budget(5), es.Rng(0)))
    >>> [y] = es.run(es.sample(target, es.Prefix([1]), es.stop.budget(5), es.Rng(0)))
    >>> x.ids() == y.ids()
    True
    """

    def __init__(self, target: Scorer, drafter: Scorer, eta: float = 10.0) -> None:
        require(eta >= 0, f"eta={eta}: a step size, at least 0")
        if target.vocab_size != drafter.vocab_size:
            raise InvalidInput(f"the target has {target.vocab_size} tokens and the drafter {drafter.vocab_size}")
        if target.stage is not Stage.LOGITS or drafter.stage is not Stage.LOGITS:
            raise InvalidInput("Enriched mixes logits; put temperature, truncation and constraints after it")
        self.target, self.drafter, self.eta = target, Remembered.of(drafter), eta
        self.vocab_size, self.vocab = target.vocab_size, target.vocab

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows, drafted = yield Ask(self.target, prefixes, want), Ask(self.drafter, prefixes)
        p, q = rows.logits.softmax(-1), drafted.logits.to(rows.logits).softmax(-1)
        return rows.with_logits(rows.logits + self.eta * (q - p))  # type: ignore[no-any-return]
