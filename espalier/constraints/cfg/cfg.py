"""Context-free grammars as guides."""

from __future__ import annotations

from espalier import _grammar
from espalier.constraints.cfg.readers import read
from espalier.constraints.cfg.readers.rules import Instruction, Rules, fail
from espalier.constraints.compile import embedded
from espalier.constraints.guide import Guide, Limits, MachineGuide, teaching


def cfg(
    text: str, start: str | None = None, dialect: str = "auto", limits: Limits | None = None, **guides: Guide
) -> MachineGuide:
    r"""The guide of a context-free grammar written in the library's EBNF, in Lark's notation or in GBNF.

    Guarantee: exact. A text is accepted iff some derivation yields it (what is ignored may stand between terminals); a
    beginning is refused iff no text of the language begins with it. Ambiguous, left- and right-recursive rules and rules
    that may be empty all work; nesting is bounded by memory only. There is no lexer: no longest match, no priority of
    terminals, so `"if" NAME` also accepts `ifx` (docs/grammars.md says what to write where that matters).

    `start` names the first rule (by default `%start`, else `root` where there is one in EBNF, always `root` in GBNF, `start`
    in Lark, else the first rule);
    `dialect` is "auto", "ebnf", "lark" or "gbnf"; `guides` are guides that the rules may use by name.

    Errors: `GrammarTextError` (an `InvalidInput`) for a text that cannot be read, with line and column; `InvalidInput` naming
    the rule for one that can never be completed; `LimitExceeded` past `limits`.

    >>> import espalier.constraints as es
    >>> sums = es.cfg('sum ::= sum "+" sum | "(" sum ")" | [0-9]+')
    >>> sums.matches(b"1+(23+4)"), sums.advance(sums.start(), b"1+)")
    (True, None)
    >>> es.cfg('start: "<" value ">"', value=es.regex("a{2}")).matches(b"<aa>")
    True
    """
    rules = read(text, dialect, known=guides)
    guide = of_rules(rules, start, limits, guides)
    return guide.by(cfg, text, start=start, dialect=None if dialect == "auto" else dialect, limits=limits, **guides)


def of_rules(
    rules: Rules, start: str | None = None, limits: Limits | None = None, guides: dict[str, Guide] | None = None
) -> MachineGuide:
    """The guide of rules that a reader (or a program) has made. Errors: as `cfg`."""
    given, limits = limits, limits or Limits()
    first = start or rules.start or next(iter(rules.rules), None)
    if first is None or first not in rules.rules:
        names = ", ".join(list(rules.rules)[:10]) or "none"
        fail(f"there is no rule `{first}` to start from; say start=...; the rules are: {names}")
    builder = _Builder(guides or {})
    name = f"grammar `{first}`"
    with teaching():
        builder.add(rules)
        machine = builder.native.finish(builder.ids[first], limits.native(), name)
    return MachineGuide(machine, name, limits=limits).by(of_rules, rules, start, given, guides)


class _Builder:
    """Hands rules to the engine."""

    def __init__(self, guides: dict[str, Guide]) -> None:
        self.native = _grammar.CfgBuilder()
        self.guides = guides
        self.ids: dict[str, int] = {}

    def add(self, rules: Rules) -> None:
        self.ids = {name: self.native.declare(name, rule.lexical) for name, rule in rules.rules.items()}
        for name, rule in rules.rules.items():
            self.native.define(self.ids[name])
            for instruction in rule.body:
                self._put(name, instruction)
        if rules.ignore:
            ignored = self.native.declare("%ignore", True)
            self.native.define(ignored)
            for body in rules.ignore:
                for instruction in body:
                    self._put("%ignore", instruction)
            self.native.alt(len(rules.ignore))
            self.native.repeat(0, _grammar.INF)
            self.native.ignore(ignored)

    def _put(self, rule: str, instruction: Instruction) -> None:
        kind, *rest = instruction
        if kind == "ref" and rest[0] in self.ids:
            self.native.ref(self.ids[rest[0]])
        elif kind == "ref":
            self.native.embed(embedded(self.guides[rest[0]].engine))
        elif kind == "guide":
            self.native.embed(embedded(rest[0].engine))
        elif kind == "repeat":
            self.native.repeat(rest[0], _grammar.INF if rest[1] is None else rest[1])
        elif kind == "pattern":
            try:
                self.native.pattern(rest[0])
            except _grammar.GrammarError as error:
                fail(f"rule `{rule}`, regular expression /{rest[0]}/: {error}")
        else:
            getattr(self.native, kind)(*rest)
