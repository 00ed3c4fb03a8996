"""Writes the stubs of the native modules, espalier/_grammar.pyi and espalier/_kernels.pyi, from the built modules.

usage: python scripts/stubs.py [--check]     --check only says whether they are up to date (exit code 1 if not)
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from nanobind.stubgen import StubGen

ROOT = Path(__file__).resolve().parents[1]


def stub(name: str) -> str:
    """The text of one module's stub."""
    generator = StubGen(importlib.import_module(f"espalier.{name}"))
    generator.put(generator.module)
    return f"# Written by scripts/stubs.py.\n{generator.get().strip()}\n"


if __name__ == "__main__":
    for module in ("_grammar", "_kernels"):
        path = ROOT / "espalier" / f"{module}.pyi"
        if "--check" in sys.argv:
            if path.read_text("utf-8") != stub(module):
                sys.exit(f"{path.name} is not what the module says; run scripts/stubs.py")
        else:
            path.write_text(stub(module), "utf-8")
