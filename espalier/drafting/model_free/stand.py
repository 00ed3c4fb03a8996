"""STAND: a stochastic n-gram table of the target's own probabilities, drawn from without replacement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Drafter, Kind, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading, Session
from espalier.drafting.trees.static_tree import MeasuredTree
from espalier.errors import require
from espalier.models.executors import native
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Scorer
from espalier.shaper import shaped


class STAND(PerText):
    """A tree whose siblings are drawn, without replacement, from what the target said after the same n-gram before.

    A table keeps, for contexts of `order` − 1 down to 1 tokens, the `top` most probable next tokens with their probabilities,
    averaged over all times that the target scored that context: the law from which the target draws, after temperature and
    truncation (temperature 0 left out). The longest known context gives q, renormalised; a node's slots are drawn from it one
    after the other (which is the law of Gumbel top-k), and every sibling group carries its q, so rejection without
    replacement is exact. Which slots exist depends on the template and on q alone, never on a drawn token. The template has
    the `nodes` slots with the largest measured acceptance: how often the r-th draw at depth d was accepted when it was tried,
    on settled text, counted on top of a geometric prior, and worked out anew every `every` rounds (tested by
    `test_stand_stores_the_tempered_law` and `test_stand_builds_its_tree_from_what_was_accepted`).
    The table is shared by all requests, as between the parallel thoughts on one problem; `shared=False`: not.
    Song et al. 2025, "Accelerated test-time scaling with model-free speculative sampling" (arXiv 2506.04708).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=1, seed=0)
    >>> verify, stop = es.verification.SampleMatch(), es.stop.budget(30)
    >>> [x] = es.run(es.speculate(model | es.temperature(0), es.Prefix([1]), stop, STAND(5, nodes=6), verify, es.Rng(0)))
    >>> len(x.written()), model.passes < 30
    (30, True)
    """

    kind: Kind = "without replacement"

    def __init__(
        self,
        vocab_size: int,
        nodes: int = 24,
        depth: int = 6,
        order: int = 4,
        top: int = 10,
        shared: bool = True,
        every: int = 32,
    ) -> None:
        require(vocab_size >= 1, f"vocab_size={vocab_size}: write the target's, as in STAND(lm.vocab_size)")
        require(order >= 2, f"order={order}: an n-gram that can draft has at least 2 tokens")
        require(top >= 1, f"top={top}: at least one token per context must be kept")
        budget(every=every)
        self.vocab_size, self.order, self.top, self.shared = vocab_size, order, top, shared
        self.measured, self.table, self._session = MeasuredTree(nodes, depth, top, every), _Table(top), Session()

    def check(self, scorer: Scorer) -> None:
        require(
            scorer.vocab_size == self.vocab_size,
            f"STAND({self.vocab_size}) was given a target of {scorer.vocab_size} tokens; write STAND({scorer.vocab_size})",
        )
        self._session.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return _Stand(self, self.table if self.shared else _Table(self.top))


class _Table:
    """Context → (times seen, {token: mean probability}), the `top` most probable tokens each."""

    def __init__(self, top: int) -> None:
        self.top = top
        self._rows: dict[tuple[int, ...], tuple[int, dict[int, float]]] = {}

    def add(self, context: tuple[int, ...], tokens: Sequence[int], p: Sequence[float]) -> None:
        """Averages one more law into the context's: new = old · k / (k + 1) + p / (k + 1), then cut to the top."""
        k, old = self._rows.get(context, (0, {}))
        mean = {token: weight * k / (k + 1) for token, weight in old.items()}
        for token, weight in zip(tokens, p, strict=True):
            if weight > 0:
                mean[token] = mean.get(token, 0.0) + weight / (k + 1)
        best = sorted(mean.items(), key=lambda entry: -entry[1])[: self.top]
        self._rows[context] = (k + 1, dict(best))

    def law(self, tail: Sequence[int]) -> dict[int, float]:
        """The mean probabilities after the longest known suffix of `tail`; empty if none is known."""
        for n in range(len(tail), 0, -1):
            found = self._rows.get(tuple(tail[len(tail) - n :]))
            if found is not None:
                return found[1]
        return {}


class _Stand(ModelFree):
    kind: Kind = "without replacement"

    def __init__(self, settings: STAND, table: _Table) -> None:
        self.settings, self.table, self._text = settings, table, Reading()

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, draft = self.settings, Draft(x)
        queue: list[tuple[tuple[int, ...], int]] = [((), 0)]
        for path, node in queue:
            law = self.table.law(draft.prefixes[node].tail(s.order - 1))
            slots = s.measured.children.get(path, 0)
            if not slots or not law:
                continue
            tokens = list(law)
            rest = torch.tensor(list(law.values()), dtype=torch.float64)
            draft.drawn(node, _dense(s.vocab_size, tokens, rest / rest.sum()), replacement=False)
            for slot in range(min(slots, len(tokens))):
                at = rng.categorical(rest)
                rest[at] = 0
                queue.append(((*path, slot), draft.add(node, tokens[at])))
        return draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.settings.measured.learn(x, draft)
        settled = set(x.up())
        at = [i for i, prefix in enumerate(rows.prefixes) if prefix in settled]
        if not at:
            return
        logits = rows.logits[at].float()
        for shaper in rows.after:
            if not shaper.greedy:
                logits = shaped(shaper, logits.log_softmax(-1), [rows.prefixes[i] for i in at])
        values, tokens = native.top(logits, self.settings.top)
        p = (values - logits.logsumexp(-1, keepdim=True)).exp().tolist()
        for i, ids, weights in zip(at, tokens.tolist(), p, strict=True):
            tail = rows.prefixes[i].tail(self.settings.order - 1)
            for n in range(1, len(tail) + 1):
                self.table.add(tuple(tail[len(tail) - n :]), ids, weights)


def _dense(size: int, tokens: Sequence[int], p: Tensor) -> Tensor:
    q = torch.zeros(size, dtype=torch.float64)
    q[torch.tensor(tokens)] = p
    return q
