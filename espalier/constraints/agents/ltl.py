"""The order of named segments, by linear temporal logic on finite traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from espalier.constraints.agents.formula import Automaton, automaton, read
from espalier.constraints.cfg.cfg import of_rules
from espalier.constraints.cfg.readers.rules import Instruction, Rule, Rules
from espalier.constraints.choices import choices
from espalier.constraints.guide import Guide, Limits, MachineGuide
from espalier.constraints.regex import regex
from espalier.errors import InvalidInput, Unsatisfiable, require


@dataclass(frozen=True)
class Segment:
    """A named part of a text: `begin`, a text of `content` (a line, if left out), `end`.

    `answer` makes it a tool's: a function of the text so far whose text is written in the place of the model's; see `answered`.

    >>> Segment("Thought: ").guide.matches(b"Thought: let me see\\n")
    True
    """

    begin: str
    content: Guide | None = None
    end: str = "\n"
    answer: Callable[[str], str] | None = None

    @cached_property
    def guide(self) -> Guide:
        """The guide of the whole segment."""
        content = self.content if self.content is not None else regex("[^\n]*")
        whole = choices([self.begin]) + content if self.begin else content
        return whole + choices([self.end]) if self.end else whole


class Plan(MachineGuide):
    """The guide that `ltl` makes. `automaton` has the orders of the segments, `segments` what they are."""

    automaton: Automaton
    segments: dict[str, Segment]

    def next(self, names: list[str]) -> tuple[list[str], bool]:
        """The segments that may come after these, and whether the text may end there.

        >>> plan = ltl("A & X B", {"A": Segment("a"), "B": Segment("b")})
        >>> plan.next([]), plan.next(["A"]), plan.next(["A", "B"])
        ((['A'], False), (['B'], False), (['A', 'B'], True))
        """
        state = 0
        for name in names:
            if name not in self.automaton.ways[state]:
                return [], False
            state = self.automaton.ways[state][name]
        return list(self.automaton.ways[state]), self.automaton.ends[state]


def ltl(formula: str, segments: Mapping[str, Segment], *, limits: Limits | None = None) -> Plan:
    """The guide of the texts that are segments, one after the other, whose names satisfy the formula.

    The formula is in linear temporal logic on finite traces: `!` `&` `|` `->` `<->`, `X f` (there is a next segment, and f
    holds from it), `N f` (the same, if there is a next one), `F f` (at some time), `G f` (always), `f U g`, `f W g`, `last`,
    `true`, `false`, names. Its situations are found by progression (Bacchus and Kabanza 1998); De Giacomo and Vardi 2013,
    "Linear temporal logic on finite traces"; for agents: Crouse et al. 2023 (arXiv 2310.08535).

    Guarantee: exact if the contents are: a segment is never begun after which the formula cannot be satisfied. Raises
    `Unsatisfiable` for a formula without a model, `InvalidInput` for one that cannot be read and for a content in Python.

    >>> guide = ltl("G(Act -> X See) & F Say & G(Say -> last)", {name: Segment(name + ": ") for name in ("Act", "See", "Say")})
    >>> guide.matches(b"Act: look\\nSee: a cat\\nSay: cat\\n"), guide.matches(b"Act: look\\nSay: cat\\n")
    (True, False)
    >>> guide.forced(guide.advance(guide.start(), b"Act: look\\n"))
    b'See: '
    """
    if not isinstance(formula, str):
        raise InvalidInput(f"ltl({formula!r}, …): a formula is a text, such as 'G(Action -> X Observation) & F Answer'")
    require(len(segments) > 0, "ltl: give the segments by name: {'Thought': Segment('Thought: ')}")
    for name, segment in segments.items():
        if not isinstance(segment, Segment):
            raise InvalidInput(f"ltl: the segment {name!r} is {segment!r}; write Segment('{name}: ')")
        require(segment.begin != "" or segment.end != "", f"ltl: nothing tells where the segment {name!r} is; give it a begin")
    found = automaton(read(formula, list(segments)), list(segments))
    if found is None:
        raise Unsatisfiable(f"ltl: no finite order of {', '.join(segments)} satisfies {formula!r}")
    rules = Rules(dialect="ltl")
    for state, ways in enumerate(found.ways):
        body: list[Instruction] = []
        for name, to in ways.items():
            body += [("ref", f"segment {name}"), ("ref", f"state {to}"), ("cat", 2)]
        body += [("bytes", b"")] if found.ends[state] else []
        rules.add(Rule(f"state {state}", False, [*body, ("alt", len(ways) + found.ends[state])]))
    used = {name for ways in found.ways for name in ways}
    for name in used:
        rules.add(Rule(f"segment {name}", False, [("guide", segments[name].guide)]))
    rules.start = "state 0"
    made: Any = of_rules(rules, None, limits)
    plan = Plan(made.machine(), f"ltl {formula}", limits=made.limits)
    plan.automaton, plan.segments = found, dict(segments)
    return plan.by(ltl, formula, plan.segments, limits=limits)
