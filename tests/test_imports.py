"""What importing costs, and that no module needs another that needs it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import espalier

ROOT = Path(espalier.__file__).parent


def _module(path: Path) -> str:
    return ".".join(("espalier", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {_module(path): path for path in sorted(ROOT.rglob("*.py"))}


def needs(module: str) -> set[str]:
    """The modules that one imports while it is being imported itself: neither in functions nor for type checkers."""
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("espalier"):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    found.add(name if name in MODULES else node.module)
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names if alias.name in MODULES)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
                visit(node.body + node.orelse)
            elif isinstance(node, ast.Try):
                visit(node.body)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")).body)
    return found & MODULES.keys() - {"espalier"}


def test_no_module_needs_one_that_needs_it():
    edges = {module: needs(module) for module in MODULES}
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> None:
        assert module not in way, " → ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(edges[module]):
                walk(other, [*way, module])
            done.add(module)

    for module in edges:
        walk(module, [])


@pytest.mark.parametrize(
    "code",
    [
        "import espalier",
        "import espalier as es; es.regex('[a-z]+').matches(b'ab'); es.json_schema({'type': 'integer'})",
        "import espalier.constraints as c; c.cfg('start ::= \"a\"').matches(b'a')",
        "import espalier as es; es.masks(es.regex('a'), __import__('espalier.text', fromlist=['Vocab']).Vocab([b'a', b'b']))",
    ],
)
def test_constraints_need_no_torch(code):
    told = "import sys; assert 'torch' not in sys.modules, [m for m in sys.modules if m.startswith('espalier')]"
    subprocess.run([sys.executable, "-c", f"{code}; {told}"], check=True, cwd=ROOT.parent)


def test_every_public_name_is_there():
    for name in espalier.__all__:
        assert getattr(espalier, name) is not None, name
    assert callable(espalier.run)
    with pytest.raises(AttributeError):
        espalier.nothing  # noqa: B018


def test_files_and_folders_stay_small():
    """At most 300 lines a file, 60 a function, 20 files a folder."""
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, f"{module} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{module}.{node.name} has {node.end_lineno - node.lineno + 1} lines"
    loop = ("prefix.py", "rows.py", "scorer.py", "run.py", "scheduler.py", "decoders/sample.py")
    assert sum((ROOT / name).read_text(encoding="utf-8").count("\n") for name in loop) <= 900
    for folder in {path.parent for path in MODULES.values()}:
        files = [path for path in folder.iterdir() if path.suffix == ".py"]
        assert len(files) <= 20, f"{folder.relative_to(ROOT)} has {len(files)} files"
