"""An agent's text: the model writes its segments, tools write theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.constraints.agents.ltl import Plan
from espalier.decoders.backtracking import DeadEnds
from espalier.decoders.decoder import Weighted, check_parts
from espalier.errors import DeadEnd, EspalierError, InvalidInput, expect, require
from espalier.prefix import Prefix
from espalier.prefix_state import PrefixState
from espalier.rng import Rng
from espalier.run import Decoder, Keep
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop
from espalier.text.vocab import Vocab

Reading = tuple[int, str | None, Any, bytes]  # the plan's state, the open segment, where in it the text is, its bytes so far


@dataclass(frozen=True)
class Answered:
    """Plain sampling of a plan (`es.constraints.ltl`) in which the segments with an `answer` are written by their functions.

    As soon as such a segment is what must come, its function is called with the text so far, and its begin, the answer and
    its end are written as the tokens that `encode` makes of them, without asking the model. The rest is `sample`, whose law
    it keeps: tokens of the model that would write into a tool's segment are shut out. Use it with `scorer * plan`. Raises
    `InvalidInput` for an answer that is no text of its segment, and for a function that raises.

    >>> import espalier as es
    >>> from espalier.constraints import Segment, ltl
    >>> vocab = es.text.vocab.Vocab([b"ask\\n", b"got: ", b"7", b"\\n", b"end\\n", None], end=[5])
    >>> parts = {"Ask": Segment("ask"), "Got": Segment("got: ", answer=lambda text: "7"), "End": Segment("end")}
    >>> plan = ltl("Ask & X Got & G(Got -> X End) & G(End -> last)", parts)
    >>> model = es.models.Table.random(vocab.size, depth=1, seed=0)
    >>> model.vocab = vocab
    >>> decoder = Answered(plan, vocab, lambda text: vocab.cut(text.encode()))
    >>> [[found]] = es.run(decoder(model * plan, es.Prefix([0]), es.stop.end([5]) | es.stop.budget(20), es.Rng(0)))
    >>> vocab.join(found.prefix.written())
    b'ask\\ngot: 7\\nend\\n'
    """

    plan: Plan
    vocab: Vocab
    encode: Callable[[str], Sequence[int]]

    def __post_init__(self) -> None:
        expect(self.plan, Plan, "the plan of Answered", "what es.constraints.ltl(formula, segments) gives")
        tools = {name for name, segment in self.plan.segments.items() if segment.answer is not None}
        for name in sorted(tools):
            end = self.plan.segments[name].end
            require(
                end != "", f"the tool's segment {name!r} has no end, so nothing tells where its answer stops; write end='\\n'"
            )
        for ways in self.plan.automaton.ways:
            if tools & set(ways) and len(ways) > 1:
                raise InvalidInput(
                    f"after some segments {' or '.join(sorted(ways))} may come, of which {min(tools & set(ways))} is a tool's; "
                    "the formula must say when a tool answers, such as G(Action -> X Observation) with no Observation elsewhere"
                )

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        dead, readings = DeadEnds(scorer, stop), PrefixState(self._read, written=True)
        while not stop(x):
            due = self._due(readings(x))
            if due is not None:
                for token in self.encode(self._answer(x, *due)):
                    x = yield Keep(x + token)
                continue
            [row] = yield Ask(scorer, [x])
            try:
                y = x + row.draw(rng)
            except DeadEnd as end:
                x = dead.back_up(end)
                continue
            if self._trespasses(readings(y)):
                scorer.forbid(x, y.last)
                continue
            x = yield Keep(y)
        return [Weighted(x)]

    def _read(self, node: Prefix, above: frozenset[Reading] | None) -> frozenset[Reading]:
        state: frozenset[Reading] = frozenset([(0, None, None, b"")]) if above is None else above
        for byte in b"" if above is None else self.vocab.join(node.tokens):
            state = frozenset(after for reading in state for after in self._step(reading, bytes([byte])))
        return state

    def _step(self, reading: Reading, byte: bytes) -> list[Reading]:
        at, name, inner, data = reading
        names = self.plan.automaton.ways[at] if name is None else [name]
        found: list[Reading] = []
        for each in names:
            engine = self.plan.segments[each].guide.engine
            after = engine.advance(engine.start() if name is None else inner, byte)
            if after is None:
                continue
            ends = engine.accepts(after)
            if not ends or self.plan.segments[each].answer is None:  # a tool's segment ends at its first end
                found.append((at, each, after, data + byte))
            if ends:
                found.append((self.plan.automaton.ways[at][each], None, None, b""))
        return found

    def _due(self, readings: frozenset[Reading]) -> tuple[str, bytes] | None:
        """The tool's segment that must be written now, and what is written of it already."""
        for at, name, _, data in readings:
            for each in self.plan.automaton.ways[at] if name is None else [name]:
                if self.plan.segments[each].answer is not None:
                    return each, data
        return None

    def _trespasses(self, readings: frozenset[Reading]) -> bool:
        """Whether the model has written more of a tool's segment than its begin."""
        tools = [(self.plan.segments[name], data) for _, name, _, data in readings if name is not None]
        return any(tool.answer is not None and not tool.begin.encode().startswith(data) for tool, data in tools)

    def _answer(self, x: Prefix, name: str, data: bytes) -> str:
        segment, text = self.plan.segments[name], self.vocab.join(x.written())
        assert segment.answer is not None
        try:
            answer = segment.answer(text[: len(text) - len(data)].decode("utf-8", "replace"))
        except EspalierError:
            raise
        except Exception as error:
            raise InvalidInput(f"the answer of {name} raised {type(error).__name__}: {error}; return a text instead") from error
        whole = f"{segment.begin}{answer}{segment.end}"
        if not isinstance(answer, str) or not segment.guide.matches(whole.encode()):
            raise InvalidInput(f"{name} answered {answer!r}, which is no text of its segment ({segment.guide!r})")
        return whole.encode()[len(data) :].decode()
