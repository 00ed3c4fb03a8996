"""The documentation: its examples run, the list of papers is the code's, and the site is built without a warning."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_examples_of_extending_run() -> None:
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "extending.md", "exec"), names)


def test_the_list_of_papers_is_the_codes() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "papers.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, timeout=300)
    assert done.returncode == 0, "run: .venv/bin/python scripts/papers.py"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "api.html").stat().st_size > 100_000


@pytest.mark.parametrize("name", ["_grammar", "_kernels"])
def test_the_stubs_of_native_modules_have_their_names(name: str) -> None:
    module = importlib.import_module(f"espalier.{name}")
    text = (ROOT / "espalier" / f"{name}.pyi").read_text("utf-8")
    missing = [
        each
        for each in dir(module)
        if not each.startswith("_") and not re.search(rf"(def|class) {each}\b|^{each}:", text, re.M)
    ]
    assert not missing, "run: .venv/bin/python scripts/stubs.py"
