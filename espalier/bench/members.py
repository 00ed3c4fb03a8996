"""`espalier bench members`: names after a dot in a real Python project, written with and without the monitor that asks jedi.

At places where jedi knows the object, the code is cut behind the dot and the model goes on. *match*: the name is the one that
stands there; *resolves*: the program with the written name compiles and jedi finds what the name means. After Agrawal et al.
2023 (arXiv 2306.10763), whose figures are of Java and compilers.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import espalier as es
from espalier.bench.report import emit, machine, show
from espalier.constraints.checks.python_members import after_dot, python_members
from espalier.errors import require
from espalier.lm import LanguageModel

SEEN = 1200  # characters of the code that the model is shown


@dataclass(frozen=True)
class Place:
    """A dot in a file: the code up to it, the name behind it, and the rest."""

    before: str
    name: str
    rest: str


def places(project: Path, limit: int) -> list[Place]:
    """At most so many places, drawn with a fixed seed, where jedi knows members and the name that stands there is one."""
    import jedi

    found = [place for file in sorted(project.rglob("*.py")) for place in _dots(file.read_text(encoding="utf-8"))]
    random.Random(0).shuffle(found)
    known, folder = list[Place](), jedi.Project(str(project))
    for place in found:
        lines = place.before.split("\n")
        members = {each.name for each in jedi.Script(place.before, project=folder).complete(len(lines), len(lines[-1]))}
        if place.name in members and resolves(place, place.name, project):
            known.append(place)
        if len(known) == limit:
            break
    return known


def _dots(code: str) -> Iterator[Place]:
    for match in re.finditer(r"(?<=[\w)\]])\.([A-Za-z_]\w*)", code):
        before = code[: match.start(1)]
        if len(before) > 200 and after_dot(before):
            yield Place(before, match[1], code[match.end(1) :])


def resolves(place: Place, name: str, project: Path) -> bool:
    """Whether the program with this name compiles, and jedi finds what it means."""
    import jedi

    code = place.before + name + place.rest
    try:
        compile(code, "written", "exec")
    except SyntaxError:
        return False
    lines = place.before.split("\n")
    return bool(jedi.Script(code, project=jedi.Project(str(project))).goto(len(lines), len(lines[-1]) + 1))


def members_bench(lm: LanguageModel, project: Path, limit: int, tokens: int) -> list[dict[str, Any]]:
    """Both ways at every place; prints a table and JSON lines."""
    known = places(project, limit)
    require(bool(known), f"--project {project}: no place in its *.py files where jedi knows the members of an object")
    counts = {way: {"match": 0, "resolves": 0, "seconds": 0.0} for way in ("without", "monitor")}
    for place in known:
        for way, count in counts.items():
            guide = python_members(project, before=place.before, time_limit=None) if way == "monitor" else None
            start = time.perf_counter()
            done = lm.complete(es.raw(place.before[-SEEN:]), constraint=guide, max_tokens=tokens, drafter=None)
            count["seconds"] += time.perf_counter() - start
            written = re.match(r"\w*", done.text)
            name = written[0] if written else ""
            count["match"] += name == place.name
            count["resolves"] += name.isidentifier() and resolves(place, name, project)
    results = [
        {"bench": "members", "project": project.name, "places": len(known), "way": way, **count}
        for way, count in counts.items()
    ]
    columns = ("way", "places", "match", "resolves", "seconds")
    show(f"names after a dot in {project.name}", columns, [[r[c] for c in columns] for r in results])
    emit({**result, **machine()} for result in results)
    return results
