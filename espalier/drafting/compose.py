"""Drafters made of drafters: the first that has something to say, or all of them in one tree."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from espalier.drafting.draft import Draft, Drafter, budget
from espalier.drafting.model_free.prompt_lookup import PromptLookup
from espalier.drafting.model_free.token_recycling import TokenRecycling
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer


class Several(Drafter):
    """Several drafters as one: each begins with the request and observes every pass."""

    def __init__(self, *drafters: Drafter) -> None:
        require(len(drafters) >= 1, f"{type(self).__name__}() was given no drafter; it needs at least one")
        for drafter in drafters:
            if not isinstance(drafter, Drafter):
                raise InvalidInput(f"{type(self).__name__} was given {drafter!r}, which is not a drafter")
        self.drafters = drafters
        self.want = frozenset[str]().union(*(drafter.want for drafter in drafters))
        kinds = {drafter.kind: type(drafter).__name__ for drafter in drafters}
        if len(kinds) > 1:
            said = ", ".join(f"{name} ({kind})" for kind, name in kinds.items())
            raise InvalidInput(
                f"{type(self).__name__} was given drafters whose drafts are chosen in different ways: {said}; a verifier needs "
                "all of one kind, so combine deterministic drafters with deterministic ones"
            )
        self.kind = next(iter(kinds))

    def check(self, scorer: Scorer) -> None:
        for drafter in self.drafters:
            drafter.check(scorer)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        for drafter in self.drafters:
            drafter.observe(x, draft, rows)


class Cascade(Several):
    """The draft of the first drafter that proposes anything; later ones are not asked then.

    Order them from the surest to the most talkative, as REST and Hierarchy Drafting (arXiv 2502.05609) do with stores.

    >>> from espalier.drafting import PromptLookup, TokenRecycling
    >>> drafter = Cascade(PromptLookup(shortest=2), TokenRecycling())
    >>> drafter.kind
    'deterministic'
    """

    def begin(self, x: Prefix) -> Drafter:
        return Cascade(*(drafter.begin(x) for drafter in self.drafters))

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        draft = Draft(x)
        for drafter in self.drafters:
            self._speaker = drafter  # the one that the draft comes from
            draft = yield from drafter.propose(x, rng)
            if len(draft):
                break
        return draft

    def join(self, draft: Draft) -> None:
        self._speaker.join(draft)


class Fuse(Several):
    """The drafts of all drafters in one tree, equal paths once; where `nodes` is the limit, earlier drafters go first.

    Deterministic drafters only: a union of drawn siblings is a draw from no law that could be carried.
    Tree fusion by longest common prefix is that of RASD (Quan et al. 2025, arXiv 2503.03434).

    >>> from espalier.drafting import PromptLookup, TokenRecycling
    >>> Fuse(PromptLookup(tokens=4), TokenRecycling(nodes=16), nodes=20).nodes
    20
    """

    def __init__(self, *drafters: Drafter, nodes: int = 64) -> None:
        super().__init__(*drafters)
        budget(nodes=nodes)
        require(
            self.kind == "deterministic",
            f"Fuse was given drafters whose drafts are drawn {self.kind}; the union of two draws follows no law that a "
            "verifier could use. Cascade them instead, or fuse deterministic drafters",
        )
        self.nodes = nodes

    def begin(self, x: Prefix) -> Drafter:
        return Fuse(*(drafter.begin(x) for drafter in self.drafters), nodes=self.nodes)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        draft = Draft(x)
        for drafter in self.drafters:
            more = yield from drafter.propose(x, rng)
            merge(draft, more, self.nodes)
        return draft


def merge(draft: Draft, more: Draft, nodes: int) -> None:
    """Adds the nodes of another draft below the same prefix, in its order, while fewer than `nodes` are drafted."""
    place = {0: 0}
    for node in range(1, len(more.prefixes)):
        parent = place.get(more.parents[node])
        if parent is None:
            continue
        there = next((c for c in draft.children[parent] if draft.token(c) == more.token(node)), None)
        if there is None and len(draft) >= nodes:
            continue
        place[node] = draft.add(parent, more.token(node)) if there is None else there


def lookup_then_recycling() -> Cascade:
    """Prompt lookup of two tokens or more, else token recycling.

    >>> len(lookup_then_recycling().drafters)
    2
    """
    return Cascade(PromptLookup(shortest=2), TokenRecycling(nodes=15))


def lookup_and_recycling() -> Fuse:
    """Prompt lookup and token recycling in one tree.

    >>> len(lookup_and_recycling().drafters)
    2
    """
    return Fuse(PromptLookup(tokens=6), TokenRecycling(nodes=15))
