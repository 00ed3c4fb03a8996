"""The grammars that ship: real texts are accepted, and random texts of a grammar satisfy a parser written by others."""

from __future__ import annotations

import ast
import json
import random
import sqlite3
import sysconfig
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import espalier
from espalier.constraints import Guide, grammars
from tests.constraints.walks import walk

ROOT = Path(espalier.__file__).parents[1]


def refused_at(guide: Guide, text: bytes) -> int:
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if guide.advance(guide.start(), text[:middle]) is not None else (low, middle - 1)
    return low


def accepts(guide: Guide, text: str) -> None:
    data = text.encode()
    at = refused_at(guide, data)
    assert guide.matches(data), f"refused after {data[max(0, at - 40) : at]!r} before {data[at : at + 20]!r}"


SQL = [
    "SELECT 1",
    "select * from t;",
    "SELECT count(DISTINCT temporary_acting) FROM management",
    "SELECT name FROM head WHERE born_state != 'California' ORDER BY age DESC LIMIT 5 OFFSET 10",
    "SELECT T1.name, T2.x FROM a AS T1 JOIN b T2 ON T1.id = T2.id LEFT OUTER JOIN c USING (id, k)",
    "SELECT a, sum(b) AS total FROM t GROUP BY a HAVING sum(b) > 10 UNION ALL SELECT 'x', 0",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10) SELECT * FROM c",
    "SELECT CASE WHEN a > 1 THEN 'big' WHEN a IS NULL THEN NULL ELSE 'small' END AS size FROM t",
    "SELECT x, row_number() OVER (PARTITION BY y ORDER BY z DESC NULLS LAST ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
    "SELECT * FROM t WHERE id IN (SELECT id FROM u) AND NOT EXISTS (SELECT 1 FROM v WHERE v.id = t.id) OR a NOT LIKE 'x%'",
    "SELECT * FROM (SELECT a FROM t) AS s, u WHERE s.a BETWEEN 1 AND 2 AND b NOT IN (1, 2, 3)",
    "INSERT INTO t (a, b) VALUES (1, 'it''s'), (2, NULL) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING *",
    "INSERT INTO users VALUES (101, 'Alice')",
    "insert into t select * from u",
    "UPDATE t SET a = a + 1, b = (SELECT max(x) FROM u) WHERE id = ? AND (c IS NOT NULL OR d = :name)",
    "DELETE FROM t WHERE created_at < current_timestamp",
    "SELECT cast(a AS varchar(20)), b::int, extract(year FROM d), d + interval '1 day' FROM \"my table\" -- end\n",
    "SELECT a || b, -c * (d + 2) / 3 % 4 FROM s.t x WHERE x.a >= 1e3 /* why */ AND y = 'z';",
    "SELECT\n  a,\n  b\nFROM\n  t\nWHERE\n  a = 1\n  AND b = 2\n",
    "VALUES (1, 2), (3, 4)",
]

NOT_SQL = [
    "SELECTa FROM t",
    "SELECT a,, b",
    "SELECT FROM t",
    "SELECT a FROM t WHERE",
    "UPDATE t SET",
    "SELECT (a",
]


@pytest.mark.parametrize("statement", SQL)
def test_sql_statements(statement: str) -> None:
    accepts(grammars.sql(), statement)


@pytest.mark.parametrize("statement", NOT_SQL)
def test_what_is_no_sql(statement: str) -> None:
    assert not grammars.sql().matches(statement.encode())


def test_sql_queries_of_spider(shared_data: Path) -> None:
    lines = {
        line.removeprefix("SQL query: ")
        for file in (shared_data / "faithful" / "spider").glob("*.txt")
        for line in file.read_text().splitlines()
        if line.startswith("SQL query: ")
    }
    assert lines
    for line in lines:
        accepts(grammars.sql(), line)


def test_random_sql_is_mostly_sqlite() -> None:
    """Other systems' syntax is in the grammar too, so not all: but what SQLite's parser refuses must be of that kind."""
    rng, db, sound, total = random.Random(0), sqlite3.connect(":memory:"), 0, 0
    for _ in range(25):
        text = walk(grammars.sql(), rng, 12)
        if text is None:
            continue
        total += 1
        try:
            db.execute("explain " + text.decode())
            sound += 1
        except sqlite3.Error as error:
            sound += "syntax" not in str(error)
    assert total > 15
    assert sound / total > 0.7, (sound, total)


def test_json_files() -> None:
    found = [*ROOT.glob("*.json"), *list(Path(json.__file__).parents[1].rglob("*.json"))[:50]]
    texts = [f.read_text("utf-8") for f in found] + [json.dumps(v, indent=2) for v in ([], {"a": [1.5e-7, "\u00e9\n", None]})]
    for text in texts:
        accepts(grammars.json(), text)


def test_random_json_is_json() -> None:
    rng = random.Random(1)
    for _ in range(150):
        text = walk(grammars.json(), rng, rng.choice([2, 10, 30]))
        assert text is not None
        json.loads(text)


@pytest.mark.parametrize("text", ["01", "[1,]", "{'a': 1}", '"\t"', '"\\x"', "NaN", "{}{}", "+1", ".5", '{"a" 1}', ""])
def test_what_is_no_json(text: str) -> None:
    assert not grammars.json().matches(text.encode())


def test_python_files() -> None:
    """Top-level statements of the standard library, as `ast.unparse` writes them (one line each, four blanks of indent)."""
    library = Path(sysconfig.get_paths()["stdlib"])
    seen, refused = 0, []
    for file in sorted(library.glob("*.py"))[:60]:
        for node in ast.parse(file.read_text("utf-8")).body:
            text = ast.unparse(node) + "\n"
            deepest = max(len(line) - len(line.lstrip()) for line in text.split("\n"))
            if not text.isascii() or deepest > 16 or isinstance(node, ast.Match):
                continue
            seen += 1
            if not grammars.python().matches(text.encode()):
                refused.append(text)
    assert seen > 1000
    assert len(refused) / seen < 0.01, [t[:200] for t in refused[:3]]


def test_random_python_is_python() -> None:
    rng = random.Random(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(40):
            text = walk(grammars.python(), rng, rng.choice([5, 10, 20]))
            if text is not None:
                ast.parse(text)


def test_python_blocks() -> None:
    good = "def f(a, /, b: int=2, *c, d, **e) -> int:\n"
    good += "    if a:\n        return {x: y for x, y in b if x}\n    else:\n        pass\n"
    guide = grammars.python()
    accepts(guide, good)
    for bad in (
        "if a:\npass\n",
        "if a:\n    pass\n  pass\n",
        "def f(a=1, b): pass\n",
        "f(a=1, b)\n",
        "x = = 1\n",
        "notx = not\n",
    ):
        assert not guide.matches(bad.encode()), bad
    assert not grammars.python(depth=1).matches(good.encode())


XML = [
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE r SYSTEM "r.dtd" [<!ELEMENT r (a|b)*>]>\n'
    '<r><a x="1 &lt; 2"/><!-- c --></r>\n',
    "<a:b xmlns:a='u'>text &#65;<![CDATA[ <raw> ]]><?php echo 1 ?></a:b>",
]


@pytest.mark.parametrize("text", XML)
def test_xml_documents(text: str) -> None:
    accepts(grammars.xml(), text)
    ElementTree.fromstring(text)


def xml_error(text: bytes) -> str:
    try:
        ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return str(error)
    return "none"


def test_random_xml_is_xml_but_for_names() -> None:
    rng = random.Random(3)
    beyond = ("mismatched tag", "duplicate attribute", "undefined entity", "unbound prefix", "none")
    for _ in range(100):
        text = walk(grammars.xml(), rng, 25)
        if text is None:
            continue
        assert xml_error(text).startswith(beyond), text


@pytest.mark.parametrize("text", ["<a>", "<a></a><b/>", "<a b></a>", "text", "<a>]]></a>", "<a><!-- -- --></a>", "<a b='<'/>"])
def test_what_is_no_xml(text: str) -> None:
    assert not grammars.xml().matches(text.encode())


def test_smiles(shared_data: Path) -> None:
    for line in (shared_data / "faithful" / "smiles" / "GDB17_sample.txt").read_text().split():
        accepts(grammars.smiles(), line)
    for file in ("acrylates.txt", "chain_extenders.txt"):
        for line in (shared_data / "faithful" / "smiles" / file).read_text().splitlines():
            if line.startswith("Molecule: ") and line.split()[1:]:
                accepts(grammars.smiles(), line.removeprefix("Molecule: ").strip())


@pytest.mark.parametrize(
    "text", ["C[C@@H](N)C(=O)O", "[13CH4]", "[Na+].[Cl-]", "F/C=C/F", "C%12CCCC%12", "c1cc[nH]c1", "[OH-:3]"]
)
def test_molecules(text: str) -> None:
    accepts(grammars.smiles(), text)


@pytest.mark.parametrize("text", ["C(", "C)", "[C", "C=", "()", "Xx", "C==C", "[13]"])
def test_what_is_no_molecule(text: str) -> None:
    assert not grammars.smiles().matches(text.encode())


def test_arithmetic_agrees_with_python() -> None:
    rng = random.Random(4)
    for _ in range(100):
        text = walk(grammars.arithmetic(), rng, 15)
        assert text is not None
        for good in (text.decode(), "1 + 2*(x - 3.5e2)**-2 % f(a, b)"):
            accepts(grammars.arithmetic(), good)
    for bad in ("1 +", "(1", "1 2", "f(,)", "*1", ""):
        assert not grammars.arithmetic().matches(bad.encode())
