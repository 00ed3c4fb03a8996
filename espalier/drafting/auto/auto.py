"""The default drafter: everything cheap at once, in drafts as large as they pay."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, NamedTuple

from espalier.drafting.auto.candidates import FORCED, Calibration, Cursor, Evidence, Memory
from espalier.drafting.auto.shared_pass import Costs, Offer, Passes
from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.guided.forced_tokens import Outlook
from espalier.drafting.model_free.successors import Successors
from espalier.drafting.pass_cost import Ledger
from espalier.drafting.text_log import Reading, Session
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer


class _Spot(NamedTuple):
    """A node of the growing tree: drafted tokens, the last tokens up to there, places that go on, the guide's state."""

    path: tuple[int, ...]
    tail: Sequence[int]
    cursors: list[Cursor]
    state: Any


_LOOK = 4  # nodes between two looks at whether more of them could pay
_PLAIN_EVERY = 64  # passes without a plain one after which one is made only to know what it costs


class Auto(Drafter):
    """A tree of the tokens most likely to be accepted, of the size that is expected to be fastest; empty if none pays.

    Candidates come from copying (prompt lookup in the text, and in what was written before), and from the target's own
    earlier rows for the same last two tokens or the same last one (token recycling), of this session and of a `table` made
    beforehand. Under a guide they come from the bytes that it forces too, and what it refuses is left out. How likely a
    candidate of each sort is to be accepted is counted as text is written, whether it was drafted or not, so that measuring
    costs no pass. The tree grows from the most probable path to the least; it is cut where expected tokens per second are
    highest, by the times that passes of each size took.

    Guarantee: the text never depends on it (deterministic drafts). By its own clock a text never takes more than `slack`
    longer than plain decoding (short ones: `slack` of what 32 tokens take), its own time included: when that much is used
    up, it stops drafting, and all other work, until later tokens have earned it back. In a batch a node is judged by what it
    costs all texts of the pass, beside what the others drafted, and its text is booked what it made all of them late.

    After Saxena 2023 (prompt lookup); Luo et al. 2024, "Token recycling" (arXiv 2408.08696); Wang et al. 2024, "OPT-Tree"
    (arXiv 2406.17276); Chen et al. 2024, "Sequoia" (arXiv 2402.12374), for the choice by measured cost.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=1, seed=0)
    >>> [x] = es.run(es.speculate(model, es.Prefix([1]), es.stop.budget(60), Auto(), es.verification.GreedyMatch(), es.Rng(0)))
    >>> [y] = es.run(es.sample(model | es.temperature(0), es.Prefix([1]), es.stop.budget(60), es.Rng(0)))
    >>> x.ids() == y.ids()
    True
    """

    def __init__(
        self,
        nodes: int = 48,
        slack: float = 0.05,
        clock: Callable[[], float] = time.perf_counter,
        curve: Callable[[int], float] | None = None,
        table: Successors | Literal["shipped"] | None = "shipped",
    ) -> None:
        require(nodes >= 1, f"nodes={nodes}: a draft budget is at least 1; drafter=None is plain decoding")
        require(slack >= 0, f"slack={slack}: what drafting may cost beyond plain decoding is a share ≥ 0 of its time")
        self.nodes, self.slack, self.clock, self.curve = nodes, slack, clock, curve
        self.memory = Memory(None if table == "shipped" else table)
        self.free, self.guided = Calibration(), Calibration()
        self._shipped = table == "shipped"
        self.costs = Costs(curve)
        self._here = threading.local()  # a loop is in one thread at a time, and threads share no passes
        self._session = Session()

    def check(self, scorer: Scorer) -> None:
        self._session.check(scorer)
        if self._shipped and self.memory.before is None and scorer.vocab is not None:
            self.memory.before = Successors.shipped(scorer.vocab)

    def begin(self, x: Prefix) -> Drafter:
        return _Text(self)

    def guided_by(self, outlook: Outlook) -> Drafter:
        return _Guided(self, outlook)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        return self.begin(x).propose(x, rng)

    @property
    def passes(self) -> Passes:
        """The passes of the loop that runs here."""
        try:
            return self._here.passes  # type: ignore[no-any-return]
        except AttributeError:
            self._here.passes = found = Passes(self.costs)
            return found


class _Guided(Drafter):
    """The session's drafter for texts under a guide."""

    def __init__(self, session: Auto, outlook: Outlook) -> None:
        self.session, self.outlook = session, outlook

    @property
    def owner(self) -> Drafter:
        return self.session.owner

    def check(self, scorer: Scorer) -> None:
        self.outlook.check(scorer)
        self.session.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return _Text(self.session, self.outlook)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        return self.begin(x).propose(x, rng)


class _Text(Drafter):
    """One request: its text, its ledger, and the round that is under way."""

    def __init__(self, session: Auto, outlook: Outlook | None = None) -> None:
        self.session, self.outlook = session, outlook
        self._calibration = session.free if outlook is None else session.guided
        self._text, self._evidence = Reading(), Evidence(session.memory)
        self._ledger = Ledger(0.95 * session.slack, least=32)  # a part of it is for what the clock does not see
        self._trust = [4.0, 4.0]  # tokens foreseen, and expected to be: how far this text is like the others
        self._foreseen: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        self._started = self._proposed = 0.0
        self._own = 0.0  # what drafting itself takes in a round, in plain passes
        self._first, self._asleep = True, False
        self._passes, self._made = session.passes, 0
        self._root: Prefix | None = None  # the prefix below which the last draft grew

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        yield from ()
        s = self.session
        draft = Draft(x)
        self._foreseen = {}
        self._root, self._passes, self._made = x, s.passes, s.passes.made
        offer = self._passes.offer(self)
        self._asleep = not self._ledger.allows(self._own, offer.slack)
        if not self._asleep and len(x):
            self._started = s.clock()
            known = self._text.read(x)
            self._evidence.read(self._text.ids, known, len(x.origin))
            gain = self._fill(draft, offer)
            self._proposed = s.clock()
            self._passes.ask(self, len(draft), gain, self._proposed, self._first)
        else:
            self._passes.ask(self)
        return draft

    def _fill(self, draft: Draft, offer: Offer) -> float:
        """Grows the draft; how many of its tokens are expected to be right."""
        s = self.session
        cost = offer.cost
        nodes, gains = self._grow(draft.prefixes[0], offer)
        if cost.plain is None or (cost.stale >= _PLAIN_EVERY and not self._first):
            return 0.0
        size = offer.best(gains, s.nodes)
        while size and not self._ledger.allows(self._own + offer.risk(size + 1), offer.slack):
            size //= 2
        place = [0]
        for parent, token in nodes[:size]:
            place.append(draft.add(place[parent], token))
        return sum(gains[:size])

    def _grow(self, x: Prefix, offer: Offer) -> tuple[list[tuple[int, int]], list[float]]:
        """Nodes (number of the parent, 0 for the root; token) from the most probable down, and their probabilities."""
        evidence, s, outlook = self._evidence, self.session, self.outlook
        count, start = itertools.count(), offer.ratio(1)
        floor = max(0.25 * offer.texts * (offer.ratio(s.nodes + 1) - start) / s.nodes, 0.01)
        nodes: list[tuple[int, int]] = []
        gains: list[float] = []
        heap: list[tuple[float, int, int, _Spot]] = []

        def expand(node: int, here: float, spot: _Spot) -> None:
            for token, chance, state in self._possible(spot):
                if here * chance >= floor:
                    below = spot._replace(path=(*spot.path, token), state=state)
                    heapq.heappush(heap, (-here * chance, next(count), node, below))

        expand(0, 1.0, _Spot((), evidence.ids[-10:], evidence.start(), outlook.state(x) if outlook is not None else None))
        tokens = offer.tokens + 1.0
        rate = tokens / start
        while heap and len(nodes) < s.nodes:
            minus, _, parent, spot = heapq.heappop(heap)
            if len(nodes) % _LOOK == 0 and not offer.may_gain(len(nodes), tokens, -minus, rate, s.nodes):
                break
            token = spot.path[-1]
            nodes.append((parent, token))
            gains.append(-minus)
            tokens -= minus
            rate = max(rate, tokens / offer.ratio(len(nodes) + 1))
            cursors = evidence.below(spot.tail, spot.cursors, token)
            expand(len(nodes), -minus, spot._replace(tail=[*spot.tail[-9:], token], cursors=cursors))
        return nodes, gains

    def _possible(self, spot: _Spot) -> list[tuple[int, float, Any]]:
        """Tokens that may come next, how likely each is to be right, and the guide's state after it."""
        outlook, p, cursors = self.outlook, self._calibration.p, spot.cursors
        if outlook is not None and all(source != FORCED for _, _, _, source in cursors):
            cursors = [*cursors, (outlook.forced(spot.state), 0, 0, FORCED)]
        found = self._evidence.candidates(spot.tail, cursors)
        trust = min(max(self._trust[0] / self._trust[1], 0.3), 1.3)
        possible: list[tuple[int, float, Any]] = []
        left = 1.0  # of the probability, when that of what the guide refuses is taken away
        for token, bucket in found:
            chance = min(p[bucket] * trust, 0.99)
            state = outlook.advance(spot.state, token) if outlook is not None and spot.state is not None else None
            if outlook is None or state is not None:
                possible.append((token, chance, state))
            else:
                left -= chance
        kept = {token for token, _, _ in possible}
        self._foreseen[spot.path] = [(token, bucket) for token, bucket in found if token in kept]
        if left < 1.0:
            possible = [(token, min(chance / max(left, 0.3), 0.99), state) for token, chance, state in possible]
        return possible

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        s = self.session
        tokens = max(len(x) - len(draft.prefixes[0]), 0)
        if self._root is not draft.prefixes[0]:  # the round was somebody else's: this drafter was not asked
            s.memory.learn(rows, 24)
            return
        awake = not self._asleep and len(self._root) > 0
        scored = s.clock() if awake or self._passes.timed else None
        made = self._passes.scored(self, scored)
        if not awake or scored is None:
            self._ledger.book(tokens, tokens)
            return
        s.memory.learn(rows, 24)
        self._judge(x.tail(tokens))
        done = s.clock()
        own = 0.0
        if not self._first and made.cost.plain is not None:  # the first pass read the prompt
            own = made.texts * (done - scored + self._proposed - self._started) / made.cost.plain
            self._own += 0.2 * (own - self._own)
        waited = 0 if self._first else made.number - self._made - 1  # passes without room for its rows
        self._first = False
        self._ledger.book(tokens, made.share(len(draft)) + own + waited)

    def _judge(self, written: Sequence[int]) -> None:
        """Counts which candidates were right, at every node that the text passed through."""
        calibration = self._calibration
        for i, token in enumerate(written):
            found = self._foreseen.get(tuple(written[:i]))
            if found is None:
                break
            for candidate, bucket in found:
                self._trust[1] += calibration.p[bucket]
                self._trust[0] += candidate == token
                calibration.learn(bucket, candidate == token)
        if self._trust[1] > 40:
            self._trust = [value / 2 for value in self._trust]
