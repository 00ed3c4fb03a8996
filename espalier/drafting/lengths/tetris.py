"""A budget of draft tokens that requests share: it goes to the slots that are most likely to be needed, whosever they are."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Sequence
from typing import Any, Literal

import torch

from espalier.drafting.draft import Draft, Drafter, budget
from espalier.drafting.draft_model.draft_model import in_place_of_model, same_vocabulary
from espalier.drafting.policies import Chain, Constant, Growth, LengthPolicy, TreePolicy, grown
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Model, Scorer


class Capacity(Model):
    """Says which draft tokens fit into a pass: the `tokens` most valuable of all that are asked about in one turn.

    It is asked like a model, and one turn of the loop brings it the drafts of all requests at once; that is how it sees
    across them. A row is one number, 1 to keep the node and 0 to drop it. Equal values: the earlier asked. `tokens` is for
    the whole pass; with `per_request` it grows with the number of requests that draft in the round. Drafts that are done wait
    for those that are not (`gathers`), so that the budget is shared among all drafts of a round, and they are verified in one
    pass.
    """

    vocab_size = 1
    invariant = True
    gathers = True

    def __init__(self, tokens: int, per_request: bool = False) -> None:
        budget(tokens=tokens)
        self.tokens, self.per_request = tokens, per_request
        self.values: weakref.WeakKeyDictionary[Prefix, tuple[float, object]] = weakref.WeakKeyDictionary()

    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Rows:
        budget = self.tokens * (len({id(self.values[x][1]) for x in prefixes}) if self.per_request else 1)
        order = sorted(range(len(prefixes)), key=lambda i: -self.values[prefixes[i]][0])
        kept = torch.zeros(len(prefixes), 1)
        kept[order[:budget]] = 1
        return Rows(kept, prefixes)


class Tetris(Drafter):
    """A draft model's drafts, cut to what all requests with the same `capacity` can afford together.

    `score="slot"` values a slot by what is known before its token is drawn: the probability of reaching it times Σ q², what
    a token drawn from q is worth there; so drafts keep their laws and every verifier its guarantee. `score="token"` values
    a token by its own path probability, as the paper does; that choice looks at the token, so it is for deterministic
    drafts, and refused for drawn ones. Values never increase along a path, so what is kept is a tree. Its rounds are worked out
    on a clock by `test_rounds_of_tetris_take_what_its_budget_says`. Wu et al. 2025, "TETRIS" (arXiv 2502.15197).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> drafter = Tetris(model, Capacity(5))
    >>> decoders = [es.speculate(model, es.Prefix([i]), es.stop.budget(9), drafter, es.verification.Rejection(), es.Rng(i))
    ...             for i in range(3)]
    >>> [len(x.written()) for x in es.run(*decoders)]
    [9, 9, 9]
    """

    def __init__(
        self,
        scorer: Scorer,
        capacity: Capacity,
        tree: TreePolicy | None = None,
        length: LengthPolicy | None = None,
        score: Literal["slot", "token"] = "slot",
    ) -> None:
        self.scorer, self.capacity, self.score = scorer, capacity, score
        self.tree, self.length = tree or Chain(), length or Constant(8)
        self.kind, self.want = self.tree.kind, self.length.reads
        self._spoken = scorer
        require(score in ("slot", "token"), f"score={score!r}: 'slot' or 'token'")
        if score == "token" and self.kind != "deterministic":
            raise InvalidInput(
                f"Tetris(score='token') chooses among tokens by their own probability, and this draft is drawn {self.kind}: "
                "that would bias sampling. Use score='slot', or a deterministic tree such as Chain(kind='deterministic')"
            )

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.scorer, scorer)
        self._spoken = in_place_of_model(scorer, self.scorer, self.kind)

    def begin(self, x: Prefix) -> Drafter:
        return Tetris(self._spoken, self.capacity, self.tree.begin(x), self.length.begin(x), self.score)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        growth = yield from grown(self.scorer, x, self.tree, self.length, rng)
        draft = self.tree.finalize(growth)
        if not len(draft):
            return draft
        if self.kind == "with replacement" and any(len(children) > 1 for children in draft.children):
            raise InvalidInput(
                "Tetris cuts siblings, and of siblings drawn with replacement a repeated token is one node, so that cutting "
                "slots would depend on their tokens; use kind='without replacement', or a Chain"
            )
        values = slots(growth, draft) if self.score == "slot" else tokens(growth, draft)
        nodes = range(1, len(draft.prefixes))
        for node in nodes:
            self.capacity.values[draft.prefixes[node]] = (values[node], self)
        rows = yield Ask(self.capacity, draft.prefixes[1:])
        return kept(draft, {node for node in nodes if bool(rows.logits[node - 1] > 0)})

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.tree.observe(x, draft, rows)
        self.length.observe(x, draft, rows)


def slots(growth: Growth, draft: Draft) -> list[float]:
    """The value of each node's slot: P(it is reached) · Σ q², q what it is drawn from; at most that of the slots before it.

    A slot is reached if its parent is, and its elder siblings are not taken: none of this depends on its own token.
    """
    known = {prefix: node for node, prefix in enumerate(growth.draft.prefixes)}
    values = [1.0] * len(draft.prefixes)
    for parent, children in enumerate(draft.children):
        at = known[draft.prefixes[parent]]
        value, q = values[parent], growth.law(at).double() if children else None
        if q is None:
            continue
        reach, tried = torch.tensor(growth.logp(at)).double().exp(), list[int]()
        for child in children:
            rest = q.clone()
            rest[tried] = 0
            left = rest.sum().clamp(min=torch.finfo(q.dtype).tiny)
            value = min(value, float(reach * (rest**2).sum() / left))
            values[child] = value
            tried.append(draft.token(child))
    return values


def tokens(growth: Growth, draft: Draft) -> list[float]:
    """The path probability of each node under q."""
    known = {prefix: node for node, prefix in enumerate(growth.draft.prefixes)}
    return [float(torch.tensor(growth.logp(known[prefix])).double().exp()) for prefix in draft.prefixes]


def kept(draft: Draft, nodes: set[int]) -> Draft:
    """The draft with these nodes only, which hold all above and all elder siblings of each; laws stay with their nodes."""
    part = Draft(draft.prefixes[0])
    place = {0: 0}
    for node in range(1, len(draft.prefixes)):
        if node in nodes:
            place[node] = part.adopt(place[draft.parents[node]], draft.prefixes[node])
    for node, at in place.items():
        part.children[at] = [place[child] for child in draft.children[node] if child in place]
        if node in draft.laws and part.children[at]:
            part.laws[at] = draft.laws[node]
    return part
