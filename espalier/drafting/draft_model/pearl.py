"""Parallel draft and verify: the draft model writes on, in a thread of its own, while the target reads what it wrote."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from espalier.drafting.draft import Draft, Drafter, Kind, budget
from espalier.drafting.draft_model.draft_model import in_place_of_model, same_vocabulary
from espalier.drafting.policies import Chain, Constant, grow
from espalier.engine import run
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer


class Pearl(Drafter):
    """The chain that was written during the last pass, and behind it, once the pass is done, `tokens` more.

    While the target scores the pending chain the draft model extends it; the first new token is then verified by the last
    row of the same pass (so there is no bonus token), and the rest is pending for the next one. With nothing pending that
    verifies the first token alone (pre-verify), else a whole block (post-verify). A pass costs max(target, tokens · drafter)
    in place of their sum, where the machine has room for both at once. The draft model's prefixes are its thread's own.
    For `Rejection` or `Block`. Liu et al. 2024, "PEARL: Parallel speculative decoding with adaptive draft length" (arXiv
    2408.11850).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> verify, stop = es.verification.Rejection(), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, Pearl(small, tokens=3), verify, es.Rng(0)))
    >>> len(x.written())
    8
    """

    kind: Kind = "with replacement"

    def __init__(self, scorer: Scorer, tokens: int = 4) -> None:
        budget(tokens=tokens)
        self.scorer, self._spoken, self.tokens = scorer, scorer, tokens
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draft")

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.scorer, scorer)
        self._spoken = in_place_of_model(scorer, self.scorer)

    def begin(self, x: Prefix) -> Drafter:
        return _Parallel(self._spoken, self.tokens, self._thread)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        yield from ()
        return Draft(x)


class _Parallel(Drafter):
    """One request: the chain that is pending below what was settled, and the writer that is ahead of it."""

    kind: Kind = "with replacement"

    def __init__(self, scorer: Scorer, tokens: int, thread: ThreadPoolExecutor) -> None:
        self.tokens, self.thread = tokens, thread
        self.writer = _Writer(scorer)
        self.pending: Draft | None = None
        self.joined: Draft | None = None
        self.ahead: tuple[Prefix, Future[Draft]] | None = None

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        yield from ()
        draft = self.pending if self.pending is not None and self.pending.prefixes[0] is x else Draft(x)
        last = draft.prefixes[-1]
        self.ahead = (last, self.thread.submit(self.writer.write, x.origin.ids(), last.written(), self.tokens, rng))
        return draft

    def join(self, draft: Draft) -> None:
        assert self.ahead is not None
        last, future = self.ahead
        written = future.result()
        if draft.prefixes[-1] is last:  # else the pending chain left the constraint, and nothing below it can be accepted
            append(draft, written, 0)
            self.joined = draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        at = next((node for node, prefix in enumerate(draft.prefixes) if prefix is x), None)
        self.pending = Draft(x)
        if at is not None and draft is self.joined:
            append(self.pending, draft, at)


class _Writer:
    """The draft model's own side: prefixes that only its thread makes and forgets, one node per written token."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.path: list[Prefix] = []

    def write(self, prompt: list[int], tokens: list[int], more: int, rng: Rng) -> Draft:
        """A chain of `more` draws below prompt and tokens."""
        if not self.path or self.path[0].tokens != tuple(prompt):
            self.path = [Prefix(prompt)]
        same = next((i for i, (x, t) in enumerate(zip(self.path[1:], tokens, strict=False)) if x.last != t), len(tokens))
        del self.path[1 + same :]
        for token in tokens[len(self.path) - 1 :]:
            self.path.append(self.path[-1] + token)
        [draft] = run(grow(self.scorer, self.path[-1], Chain(more), Constant(more), rng))
        self.path.extend(draft.prefixes[1:])
        return draft


def append(draft: Draft, more: Draft, at: int) -> None:
    """Adds the chain that another draft has below its node `at` to the end of a chain, with its laws."""
    node = len(draft.prefixes) - 1
    for child in range(at + 1, len(more.prefixes)):
        if child - 1 in more.laws:
            draft.laws[node] = more.laws[child - 1]
        whole = draft.prefixes[node] is more.prefixes[child - 1]
        node = draft.adopt(node, more.prefixes[child]) if whole else draft.add(node, more.token(child))
