"""Drafts retrieved from a store of texts: REST, and its fusions with a draft model (RASD, Graft)."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

from espalier.drafting.compose import merge
from espalier.drafting.draft import Draft, Drafter, ModelFree, PerText, budget
from espalier.drafting.draft_model.draft_model import same_vocabulary
from espalier.drafting.retrieval.text_store import TextStore
from espalier.drafting.text_log import Reading, guess, likely
from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer


class REST(PerText):
    """The most frequent continuations, in a store of texts, of the longest stored suffix of the text, as a tree.

    Suffixes of `longest` down to `shortest` tokens count; of up to 5000 occurrences the next `tokens` tokens are collected,
    and the `nodes` most frequent beginnings of these are drafted. No occurrence: an empty draft.
    He, Zhong, Cai, Lee, He 2023, "REST: Retrieval-based speculative decoding" (arXiv 2311.08252).

    >>> drafter = REST(TextStore([[1, 2, 3, 4], [1, 2, 3, 5]]), nodes=3)
    >>> x = Prefix([9, 1, 2])
    >>> [p.ids()[3:] for p in drafter.begin(x).draft(x, Rng(0)).prefixes[1:]]
    [[3], [3, 4], [3, 5]]
    """

    def __init__(self, store: TextStore, nodes: int = 24, tokens: int = 10, longest: int = 16, shortest: int = 2) -> None:
        budget(nodes=nodes)
        require(tokens >= 1, f"tokens={tokens}: at least one token of each continuation is needed")
        require(1 <= shortest <= longest <= 32, f"shortest={shortest}, longest={longest}: need 1 ≤ shortest ≤ longest ≤ 32")
        self.store, self.nodes, self.tokens, self.longest, self.shortest = store, nodes, tokens, longest, shortest

    def check(self, scorer: Scorer) -> None:
        self.store.check(scorer.vocab)

    def begin(self, x: Prefix) -> _Retrieval:
        return _Retrieval(self)


class _Retrieval(ModelFree):
    def __init__(self, settings: REST) -> None:
        self.settings, self._text = settings, Reading()

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, draft = self.settings, Draft(x)
        self._text.read(x)
        run = s.store.longest(self._text.ids, s.longest, s.shortest)
        if run:
            for path, _ in s.store.tree(run, s.tokens, s.nodes):
                draft.extend(0, path)
        return draft


class RASD(Drafter):
    """A retrieved tree, cut to what a draft model thinks possible, and the model's own chain, fused in one tree.

    One pass of the model over the retrieved tree says of every node which tokens may follow; at every depth only those among
    its `top` stay (tested by `test_rasd_prunes_at_every_depth`). Then `tokens` steps of the model's most probable tokens are
    merged in by longest common prefix, `nodes` in all. What the draft model says is used to choose, not drawn, so the draft
    is deterministic.
    Quan, Yang, Xie, et al. 2025, "RASD: Retrieval-augmented speculative decoding" (arXiv 2503.03434).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> drafter, verify = RASD(small, REST(TextStore([[0, 1, 2, 3]]))), es.verification.SampleMatch()
    >>> [x] = es.run(es.speculate(big, es.Prefix([0, 1]), es.stop.budget(8), drafter, verify, es.Rng(0)))
    >>> len(x.written())
    8
    """

    def __init__(self, model: Scorer, retrieve: Drafter, tokens: int = 4, top: int = 8, nodes: int = 32) -> None:
        budget(tokens=tokens, top=top)
        budget(nodes=nodes)
        expect(retrieve, Drafter, "retrieve", "a drafter, such as es.drafting.PromptLookup()")
        require(retrieve.kind == "deterministic", "RASD fuses a retrieved draft, and that must be deterministic")
        self.model, self.retrieve, self.tokens, self.top, self.nodes = model, retrieve, tokens, top, nodes
        self.want = retrieve.want

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.model, scorer)
        self.retrieve.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return RASD(self.model, self.retrieve.begin(x), self.tokens, self.top, self.nodes)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        found = yield from self.retrieve.propose(x, rng)
        inner = [node for node, children in enumerate(found.children) if children or not node]
        rows = yield Ask(self.model, [found.prefixes[node] for node in inner])
        row_of = dict(zip(inner, rows, strict=True))
        likely_after = {node: likely(row, self.top) for node, row in row_of.items()}
        kept = {0}
        for node in range(1, len(found.prefixes)):
            if found.parents[node] in kept and found.token(node) in likely_after[found.parents[node]]:
                kept.add(node)
        draft, node, at, row = Draft(x), 0, 0, row_of[0]
        for _ in range(min(self.tokens, self.nodes)):
            token = guess(row)
            at = next((child for child in found.children[at] if found.token(child) == token), -1) if at >= 0 else -1
            node = draft.adopt(node, found.prefixes[at]) if at >= 0 else draft.add(node, token)
            if draft.depth(node) == self.tokens:
                break
            if at in row_of:  # the model has read this one already
                row = row_of[at]
            else:
                [row] = yield Ask(self.model, [draft.prefixes[node]])
        merge(draft, found.cut(kept), self.nodes)
        return draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.retrieve.observe(x, draft, rows)


class Graft(Drafter):
    """A draft model's beam while it is confident, and retrieval from the root with the budget that is left.

    Level by level the `width` most probable paths of `model` are kept; when the best path's probability falls below the
    threshold of its depth (`confident[depth - 1]`, the last one for all deeper levels) the model stops, and the other
    nodes come from `retrieve`, skipping what is there. Always `nodes` in all, if retrieval has that many.
    "Draft less, retrieve more" (Graft) 2026, arXiv 2605.20104; the thresholds are to be calibrated per model.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> drafter, verify = Graft(small, REST(TextStore([[0, 1, 2, 3]]))), es.verification.SampleMatch()
    >>> [x] = es.run(es.speculate(big, es.Prefix([0, 1]), es.stop.budget(8), drafter, verify, es.Rng(0)))
    >>> len(x.written())
    8
    """

    def __init__(
        self,
        model: Scorer,
        retrieve: Drafter,
        nodes: int = 32,
        width: int = 4,
        depth: int = 5,
        confident: tuple[float, ...] = (0.4, 0.25, 0.15),
    ) -> None:
        budget(nodes=nodes)
        budget(width=width, depth=depth)
        require(len(confident) > 0, "confident=() has no threshold; (0.0,) never stops the draft model")
        expect(retrieve, Drafter, "retrieve", "a drafter, such as es.drafting.PromptLookup()")
        require(retrieve.kind == "deterministic", "Graft fills up with a retrieved draft, and that must be deterministic")
        self.model, self.retrieve, self.nodes, self.width, self.depth = model, retrieve, nodes, width, depth
        self.confident, self.want = confident, retrieve.want

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.model, scorer)
        self.retrieve.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return Graft(self.model, self.retrieve.begin(x), self.nodes, self.width, self.depth, self.confident)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        draft, level = Draft(x), [(0.0, 0)]
        for depth in range(self.depth):
            rows = yield Ask(self.model, [draft.prefixes[node] for _, node in level])
            laws = [row.logits.log_softmax(-1).topk(min(self.width, row.logits.shape[-1])) for row in rows]
            found = [
                (logp + value, node, token)
                for (logp, node), law in zip(level, laws, strict=True)
                for value, token in zip(law.values.tolist(), law.indices.tolist(), strict=True)
            ]
            found = sorted(found, key=lambda entry: -entry[0])[: min(self.width, self.nodes - len(draft))]
            level = [(logp, draft.add(node, token)) for logp, node, token in found]
            if not level or math.exp(level[0][0]) < self.confident[min(depth, len(self.confident) - 1)]:
                break
        merge(draft, (yield from self.retrieve.propose(x, rng)), self.nodes)
        return draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.retrieve.observe(x, draft, rows)
