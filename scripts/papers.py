"""Writes docs/papers.md: one line per public method with a paper, from its docstring.

usage: python scripts/papers.py [--check]     --check only says whether the file is up to date (exit code 1 if it is not)
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOMS = ["decoders", "decoders.faithful", "constraints", "shaping", "drafting", "verification", "models"]
FILE = Path(__file__).resolve().parents[1] / "docs" / "papers.md"
NUMBER = re.compile(r"\b(\d{4}\.\d{4,5})\b")


def lines() -> list[str]:
    """The table, sorted by room and name."""
    found: dict[str, str] = {}
    for room in ROOMS:
        module = import_module(f"espalier.{room}")
        for name in sorted(getattr(module, "__all__", ())):
            thing = getattr(module, name)
            doc = inspect.getdoc(thing) or ""
            if not inspect.ismodule(thing) and (numbers := list(dict.fromkeys(NUMBER.findall(doc)))):
                links = ", ".join(f"[{n}](https://arxiv.org/abs/{n})" for n in numbers)
                found.setdefault(f"es.{room}.{name}", f"| `es.{room}.{name}` | {links} | {_guarantee(thing, doc)} |")
    return list(found.values())


def _guarantee(thing: Any, doc: str) -> str:
    """What the docstring promises, or else its first sentence."""
    flat = " ".join(doc.split(">>>")[0].split())
    said = re.search(r"(?:Guarantee|Law)[^:]*: (.*?[.;])(?: |$)", flat)
    text = said.group(1) if said else re.split(r"(?<=[.;]) ", flat)[0]
    guarantee = getattr(thing, "guarantee", None)
    return (f"{guarantee}: " if isinstance(guarantee, str) else "") + text.replace("|", "\\|").rstrip(".;")


def page() -> str:
    """The whole file."""
    head = [
        "# Papers",
        "",
        "One line per public method that comes from a paper: its name, the paper, and what is promised (from its docstring).",
        "Written by `scripts/papers.py`; a test compares.",
        "",
        "| name | paper (arXiv) | what is promised |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *lines()]) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(FILE.read_text("utf-8") != page())
    FILE.write_text(page(), "utf-8")
