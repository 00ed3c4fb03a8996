"""Pruning a draft by the first layers of the target, before the whole of it is asked."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.draft_model.draft_model import same_vocabulary
from espalier.drafting.text_log import likely
from espalier.errors import InvalidInput, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer


class ProPD(Drafter):
    """Another drafter's deterministic drafts without the tokens that `early` does not have among its `top` after their parent.

    `early` is the target's first few layers with its head, `lm.model.exit(3)`: they are the first part of its pass, which
    goes on from them for the tokens that are kept (tested by `test_pruning_by_an_exit_computes_no_layer_twice`). The rule looks
    at neither the target's rows nor its random numbers, so whatever is exact for deterministic drafts stays exact. Zhong et al.
    2024, "ProPD" (arXiv 2402.13485).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> beams = es.drafting.DraftModel(small, tree=es.drafting.Beam(width=3, depth=3, nodes=9))
    >>> drafter, verify = ProPD(beams, early=small, top=2), es.verification.SampleMatch()
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), es.stop.budget(8), drafter, verify, es.Rng(0)))
    >>> len(x.written())
    8
    """

    def __init__(self, drafter: Drafter, early: Scorer, top: int = 50) -> None:
        expect(drafter, Drafter, "drafter", "a drafter, such as es.drafting.PromptLookup()")
        require(top >= 1, f"top={top}: at least the most probable token must be kept")
        if drafter.kind != "deterministic":
            raise InvalidInput(
                f"ProPD was given {type(drafter).__name__}, whose drafts are {drafter.kind}; dropping drawn tokens for what "
                "they are would bias sampling. Give it a deterministic drafter"
            )
        self.drafter, self.early, self.top = drafter, early, top
        self.want = drafter.want

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.early, scorer)
        self.drafter.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return ProPD(self.drafter.begin(x), self.early, self.top)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        draft = yield from self.drafter.propose(x, rng)
        inner = [node for node, children in enumerate(draft.children) if children]
        if not inner:
            return draft
        rows = yield Ask(self.early, [draft.prefixes[node] for node in inner])
        expected = {node: likely(rows[i], self.top) for i, node in enumerate(inner)}
        kept = {0}
        for node in range(1, len(draft.prefixes)):
            if draft.parents[node] in kept and draft.token(node) in expected[draft.parents[node]]:
                kept.add(node)
        return draft.cut(kept)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.drafter.observe(x, draft, rows)
