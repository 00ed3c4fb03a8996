"""What every grammar reader produces: rules whose right-hand sides are short programs in postfix order.

Postfix because it has no nesting: a grammar with ten thousand parentheses is as easy to carry as one with two, and the
text of a template can be inserted by replacing one instruction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from espalier.errors import InvalidInput

Instruction = tuple[Any, ...]
"""One of `("bytes", b)`, `("ranges", ((lo, hi), ...))` one code point, `("pattern", text)` a regular expression,
`("ref", name)`, `("guide", guide)`; and the operators `("cat", n)`, `("alt", n)`, `("repeat", lo, hi or None)`,
`("both",)`, `("minus",)`."""


class GrammarTextError(InvalidInput):
    """A grammar's text that cannot be read; says where."""


def fail(message: str, line: int = 0, column: int = 0) -> NoReturn:
    """Raise `GrammarTextError` with the place in front."""
    place = f"line {line}, column {column}: " if line else ""
    raise GrammarTextError(f"grammar, {place}{message}")


@dataclass
class Rule:
    """One rule: `lexical` = a terminal, inside which nothing is ignored."""

    name: str
    lexical: bool
    body: list[Instruction]
    line: int = 0


@dataclass
class Rules:
    """A grammar as a reader found it: rules by name, what may be ignored between terminals, and where to start."""

    rules: dict[str, Rule] = field(default_factory=dict)
    ignore: list[list[Instruction]] = field(default_factory=list)
    start: str | None = None
    dialect: str = ""

    def add(self, rule: Rule) -> None:
        """Take a rule; defining a name twice is an error."""
        if rule.name in self.rules:
            first = self.rules[rule.name].line
            fail(f"rule `{rule.name}` is defined twice (first in line {first}); join the two with `|`", rule.line, 1)
        self.rules[rule.name] = rule

    def check_names(self, known: Collection[str] = ()) -> None:
        """Every name that is used must be defined, here or in `known`; a terminal may use terminals only."""
        if both := set(known) & set(self.rules):
            fail(f"`{min(both)}` is defined by a rule and given from outside; rename one")
        for rule in self.rules.values():
            for name in (i[1] for i in rule.body if i[0] == "ref"):
                if name in known:
                    continue
                if name not in self.rules:
                    likely = close_to(name, [*self.rules, *known])
                    hint = f"; did you mean `{likely}`?" if likely else ""
                    fail(f"rule `{rule.name}` uses `{name}`, which is defined nowhere{hint}", rule.line, 1)
                if rule.lexical and self.ignore and not self.rules[name].lexical:
                    fail(
                        f"terminal `{rule.name}` uses `{name}`, which is no terminal (its name is not in capitals): "
                        "inside terminals nothing is ignored, inside rules it is; rename one of the two",
                        rule.line,
                        1,
                    )


def close_to(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, if any does.

    >>> close_to("expresion", ["expression", "term"])
    'expression'
    """
    import difflib

    found = difflib.get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def caseless(text: str) -> list[Instruction]:
    """`text` in any mixture of upper and lower case, as instructions that leave one value.

    Letters match the characters that are their upper or lower case (one character each); nothing else is folded.

    >>> caseless("a1")
    [('ranges', ((65, 65), (97, 97))), ('ranges', ((49, 49),)), ('cat', 2)]
    """
    made: list[Instruction] = []
    for character in text:
        cases = {character, *(c for c in (character.lower(), character.upper()) if len(c) == 1)}
        made.append(("ranges", tuple((ord(c), ord(c)) for c in sorted(cases))))
    return [*made, ("cat", len(text))]
