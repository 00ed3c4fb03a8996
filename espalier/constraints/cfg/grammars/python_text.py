"""The text of the Python grammar, with its blocks written out per level of indentation."""

from __future__ import annotations

import re
from pathlib import Path

from espalier.errors import require


def python_text(depth: int, indent: int) -> str:
    """The grammar's text for blocks nested up to `depth` levels, each indented by `indent` blanks.

    >>> "compound1" in python_text(2, 4), "compound2" in python_text(2, 4)
    (True, False)
    """
    require(
        0 <= depth <= 40 and 1 <= indent <= 16, f"python(depth={depth}, indent={indent}): up to 40 levels of 1 to 16 blanks"
    )
    text = Path(__file__).with_name("python.ebnf").read_text(encoding="utf-8")
    rules, level, terminals = (part.partition("\n")[2] if i else part for i, part in enumerate(text.split("#-- ")))
    levels = [level.replace("{n}", str(n)).replace("{m}", str(n + 1)) for n in range(depth)]
    deepest = [line for line in level.splitlines() if line.startswith(("block", "statement"))]  # no blocks below it
    levels.append("\n".join(deepest).replace(" | compound{n}", "").replace("{n}", str(depth)))
    indents = [f'INDENT{n} ::= "{" " * (indent * n)}"' for n in range(depth + 1)]
    return _spaced("\n".join([rules, *levels])) + terminals + "\n".join(indents)


def _spaced(rules: str) -> str:
    """Lets blanks follow every literal whose text does not end with `~` (then that is removed)."""

    def put(match: re.Match[str]) -> str:
        text = match[1]
        if text == "~~":
            return '("~" _)'
        return f'"{text[:-1]}"' if text.endswith("~") else f'("{text}" _)'

    lines = (line if line.startswith("#") else re.sub(r'"([^"]*)"', put, line) for line in rules.splitlines())
    return "\n".join(lines) + "\n"
