"""Staged speculation: a draft model whose own decoding is speculated by a cheaper drafter."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from espalier.drafting.draft import Draft, Drafter, Kind, budget
from espalier.drafting.draft_model.draft_model import in_place_of_model, same_vocabulary
from espalier.drafting.draft_model.prefetched_rows import Foreseen
from espalier.drafting.policies import Constant, TreePolicy, grow
from espalier.errors import DeadEnd, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer
from espalier.verification.verifier import Verifier, check_pair


class Staged(Drafter):
    """A draft that `scorer` writes, helped by `drafter` and `verify`: speculation within speculation.

    With a `tree` policy it is a tree: every pass of `scorer` also reads what `drafter` proposes below the nodes that are
    asked about, and levels that were foreseen need no pass. The tree and its laws are those of `DraftModel(scorer,
    tree=tree)`, draw for draw (tested by `test_a_staged_tree_is_the_unstaged_one_in_fewer_passes`). `tokens` are then the
    most levels, and `verify` is not asked.

    Without one it is a chain of `tokens` tokens. With a "sampling" rule inside, the chain is a draw from the laws of `scorer`
    and carries them; with `GreedyMatch` it is its most probable tokens. Fewer passes of the middle model, the same drafts.
    The chain has a fixed length, since how far the inner rule came says something about its tokens. A tree for a small model
    and a chain for a large one is this, too (Zhang et al. 2025, "Speculative decoding meets quantization", arXiv 2505.22179).
    Spector, Ré 2023, "Accelerating LLM inference with staged speculative decoding" (arXiv 2308.04623).

    >>> import espalier as es
    >>> middle, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter = Staged(middle, es.drafting.PromptLookup(), es.verification.SampleMatch(), tokens=4)
    >>> verify, stop = es.verification.Rejection(), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, verify, es.Rng(0)))
    >>> len(x.written())
    8
    """

    def __init__(
        self, scorer: Scorer, drafter: Drafter, verify: Verifier, tokens: int = 6, tree: TreePolicy | None = None
    ) -> None:
        expect(drafter, Drafter, "drafter", "a drafter, such as es.drafting.PromptLookup()")
        budget(tokens=tokens)
        require(
            verify.guarantee != "lossy",
            f"{type(verify).__name__} is lossy, so the law of the staged draft would not be known and nothing could be "
            "verified exactly; use a rule that is exact inside, and a lossy one outside if you like",
        )
        check_pair(drafter, verify)
        drafter.check(scorer)
        self.scorer, self.drafter, self.verify, self.tokens = scorer, drafter, verify, tokens
        self._spoken = scorer
        self.tree, self._foreseen = tree, Foreseen(scorer, drafter)
        self.kind: Kind = "deterministic" if verify.guarantee == "greedy" else "with replacement"
        if tree is not None:
            self.kind = tree.kind

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.scorer, scorer)
        self._spoken = in_place_of_model(scorer, self.scorer, self.kind if self.tree is not None else "with replacement")
        self.drafter.check(self._spoken)

    def begin(self, x: Prefix) -> Drafter:
        tree = self.tree.begin(x) if self.tree is not None else None
        return Staged(self._spoken, self.drafter.begin(x), self.verify, self.tokens, tree)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if self.tree is not None:
            self.tree.observe(x, draft, rows)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        if self.tree is not None:
            return (yield from grow(self._foreseen.begin(x), x, self.tree, Constant(self.tokens), rng))
        return (yield from self._chain(x, rng))

    def _chain(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        draft, node, y = Draft(x), 0, x
        end = self.scorer.vocab.end if self.scorer.vocab is not None else frozenset()
        coins = rng.split()
        while len(draft) < self.tokens and not (node and draft.token(node) in end):
            inner = (yield from self.drafter.propose(y, coins)).pruned(self.scorer.viable)
            inner.scored = len(inner.prefixes)
            rows = yield Ask(self.scorer, [*inner.prefixes, *self.verify.asides(inner)], self.drafter.want | self.verify.want)
            self.drafter.join(inner)
            at = {id(prefix): i for i, prefix in enumerate(inner.prefixes)}
            try:
                for y in self.verify(inner, rows, rng):
                    assert y.parent is not None
                    if self.kind != "deterministic":
                        draft.drawn(node, rows[at[id(y.parent)]].probs())
                    node = draft.adopt(node, y)
                    if len(draft) == self.tokens or y.last in end:
                        break
            except DeadEnd:
                return draft
            self.drafter.observe(y, inner, rows)
        return draft
