"""SQL that runs: PICARD's three modes (grammar, names in scope so far, the whole parsed and tried) on a real database."""

import re
import sqlite3

import sqlglot

import espalier as es

TABLES = {"singer": ["name", "age", "country"], "song": ["title", "artist", "year"]}
DATABASE = sqlite3.connect(":memory:")
DATABASE.executescript("".join(f"CREATE TABLE {table}({', '.join(columns)});" for table, columns in TABLES.items()))
GRAMMAR = """
root  ::= "SELECT " cols " FROM " name (" WHERE " name (" = " | " > " | " < ") ([0-9]{1,4} | "'" [A-Z] [a-z]{1,8} "'"))?
cols  ::= "count(*)" | name (", " name){0,2}
name  ::= [a-z]{2,8}
"""


def in_scope(text: str) -> bool:  # of every beginning: some table has all columns so far, the last may still become one
    head, _, tail = re.sub(r"'[^']*'?|count\(\*\)", "", text).partition(" FROM ")
    *whole, last = [*re.findall("[a-z]+", head), *re.findall("[a-z]+", tail)[1:]] or [""]
    fits = [t for t in TABLES if not tail or t == tail.split()[0] or (tail.isalpha() and t.startswith(tail))]
    return any(set(whole) <= set(TABLES[t]) and any(name.startswith(last) for name in TABLES[t]) for t in fits)


def runs(text: str) -> bool:  # of the whole
    try:
        return bool(sqlglot.parse_one(text, read="sqlite")) and bool(DATABASE.execute("EXPLAIN " + text))
    except (sqlglot.ParseError, sqlite3.Error):
        return False


def main() -> list[str]:
    lm = es.load()
    guide = es.cfg(GRAMMAR) & es.constraints.predicate(prefix=in_scope, final=runs)
    prompt = "Tables: singer(name, age, country), song(title, artist, year). Write SQL for: "
    prompts = [prompt + what for what in ("the names of all singers.", "titles of songs after 2014.")]
    return [one.text for one in lm.complete_all(prompts, constraint=guide, max_tokens=40)]
