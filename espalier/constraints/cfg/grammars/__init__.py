"""Grammars to start from: JSON, SQL, arithmetic, XML, Python, SMILES. Their texts lie beside this file, in the notation of
docs/grammars.md: copy one and change it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from espalier.constraints.cfg.cfg import cfg
from espalier.constraints.guide import Limits, MachineGuide
from espalier.errors import require


def text(name: str) -> str:
    """The grammar text of one of the grammars here, to read or to change.

    >>> "array" in text("json")
    True
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.ebnf"))
    require(name in known, f"there is no grammar {name!r} here; there are: {', '.join(known)}")
    return Path(__file__).with_name(f"{name}.ebnf").read_text(encoding="utf-8")


@cache
def json(limits: Limits | None = None) -> MachineGuide:
    """One JSON value of any kind (RFC 8259). Exact; for values of a given shape see `json_schema`.

    >>> json().matches(b'{"a": [1, 2.5e3, null]}'), json().matches(b"[1,]")
    (True, False)
    """
    return cfg(text("json"), limits=limits).by(json, limits=limits)


@cache
def sql(limits: Limits | None = None) -> MachineGuide:
    """SQL statements: SELECT with everything usual (joins, subqueries, WITH, set operators, windows), INSERT, UPDATE, DELETE.

    Guarantee: syntax only; names are not looked up, types are not checked. White space between a keyword and a bracket may
    not be left out everywhere (`FROM(`): the grammar asks for it where most people write it.

    >>> sql().matches(b"SELECT name, count(*) FROM t WHERE x > 3 GROUP BY name ORDER BY 2 DESC;")
    True
    >>> sql().matches(b"SELECTname FROM t")
    False
    """
    return cfg(text("sql"), limits=limits).by(sql, limits=limits)


@cache
def arithmetic(limits: Limits | None = None) -> MachineGuide:
    """Arithmetic expressions over numbers, names and calls.

    >>> arithmetic().matches(b"3 * (x + 4)^2 - sqrt(y, 2)"), arithmetic().matches(b"3 +")
    (True, False)
    """
    return cfg(text("arithmetic"), limits=limits).by(arithmetic, limits=limits)


@cache
def xml(limits: Limits | None = None) -> MachineGuide:
    """XML 1.0 documents. That end tags match start tags is not a context-free property: it is not checked.

    >>> xml().matches(b'<a x="1"><b/>text &amp; more</a>'), xml().matches(b"<a><b></a")
    (True, False)
    """
    return cfg(text("xml"), limits=limits).by(xml, limits=limits)


@cache
def smiles(limits: Limits | None = None) -> MachineGuide:
    """Molecules in SMILES. That ring numbers pair up and valences are possible is not checked.

    >>> smiles().matches(b"CC(=O)Oc1ccccc1C(=O)O"), smiles().matches(b"C(C")
    (True, False)
    """
    return cfg(text("smiles"), limits=limits).by(smiles, limits=limits)


@cache
def python(depth: int = 4, indent: int = 4, limits: Limits | None = None) -> MachineGuide:
    """Python 3.11 statements and expressions (a large subset), blocks nested up to `depth` deep by `indent` spaces each.

    Indentation is not context free: blocks of different rules are written out per level, so deeper code is refused (raise
    `depth`). Expressions nest without a bound. Not covered: match statements, line breaks inside brackets, `\\` at line ends,
    names beyond ASCII, nested quotes in f-strings.

    >>> python().matches(b"def f(x):\\n    return [y for y in x if y > 0]\\n")
    True
    >>> python().matches(b"if x:\\nreturn\\n")
    False
    """
    from espalier.constraints.cfg.grammars.python_text import python_text

    return cfg(python_text(depth, indent), limits=limits).by(python, depth, indent, limits=limits)


__all__ = ["arithmetic", "json", "python", "smiles", "sql", "text", "xml"]
