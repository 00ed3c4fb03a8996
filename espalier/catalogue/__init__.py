"""The catalogue: every name that people type (drafters, verifiers, policies, shapers, decoders), with an example of each.

Its lines stand in `table`. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from espalier.catalogue.entry import Entry, Kind
from espalier.catalogue.table import TABLE
from espalier.errors import InvalidInput

__all__ = ["ENTRIES", "Entry", "Kind", "entries", "find", "names", "parse"]


def _entries() -> Iterator[Entry]:
    for line in TABLE.strip().splitlines():
        kind, name, where, *rest = line.split("|")
        example, needs = ([part.strip() for part in rest] + ["", ""])[:2]
        first = tuple(part.strip() for part in needs.split(",") if part.strip())
        yield Entry(kind.strip(), name.strip(), f"espalier.{where.strip()}", example, first)  # type: ignore[arg-type]


def names(kind: Kind, typed: bool = False) -> list[str]:
    """The names of a kind, in the order of the catalogue; `typed`: of those that need nothing but a model besides.

    >>> "beam" in names("decoder"), names("drafter")[0], "rest" in names("drafter"), "rest" in names("drafter", typed=True)
    (True, 'auto', True, False)
    """
    return [entry.name for entry in entries(kind) if entry.typed or not typed]


def entries(kind: Kind | None = None) -> list[Entry]:
    """All entries of a kind, or all.

    >>> {entry.kind for entry in entries()} == {"drafter", "verifier", "length", "tree", "shaper", "decoder"}
    True
    """
    return [entry for entry in ENTRIES if kind in (None, entry.kind)]


def find(kind: Kind, name: str) -> Entry:
    """The entry of this name. Raises `InvalidInput` for one that is not known, with the nearest that is.

    >>> find("decoder", "best_first").arguments
    'k, memory=None'
    """
    known = {entry.name: entry for entry in entries(kind)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InvalidInput(f"{kind}={name!r} is not known; {hint}use one of {', '.join(known)}")


def parse(kind: Kind, text: str, model: Any = None, **objects: Any) -> Any:
    """The object that a text names, with its arguments behind a colon: "beam:8", "top_p:0.9".

    >>> parse("decoder", "best_first:8")
    BestFirst(k=8, memory=None)
    """
    name, _, arguments = text.partition(":")
    return find(kind, name.strip()).make(arguments, model, **objects)


ENTRIES = list(_entries())
