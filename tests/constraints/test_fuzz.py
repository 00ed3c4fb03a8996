"""Thirty seconds of the fuzz targets (core/fuzz): random grammars, patterns, schemas and texts against the laws of a guide.

Each target is the native engine with AddressSanitizer and UndefinedBehaviorSanitizer; what it requires of every input is in
core/fuzz/laws.hpp. Long runs are described in docs/constraints.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
SECONDS = 7


def _tool(*command: str, timeout: float) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # cmake and ninja of the environment
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env={**os.environ, "PATH": path}, cwd=ROOT)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built targets; the first build takes one or two minutes, later ones nothing."""
    probe = tmp_path_factory.mktemp("probe")
    (probe / "probe.cpp").write_text("int main() { return 0; }\n")
    compiler = os.environ.get("CXX", "g++")
    flags = ("-std=c++20", "-fsanitize=address,undefined", "-o", str(probe / "probe"))
    try:
        made = _tool(compiler, *flags, str(probe / "probe.cpp"), timeout=60)
    except FileNotFoundError:
        pytest.skip(f"no compiler: {compiler} is not there")
    if made.returncode != 0:
        pytest.skip(f"{compiler} has no address and undefined-behaviour sanitizers: {made.stderr[-300:]}")
    made = _tool("cmake", "-S", "core/fuzz", "-B", str(BUILD), "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={compiler}", timeout=120)
    assert made.returncode == 0, made.stderr
    made = _tool("cmake", "--build", str(BUILD), timeout=900)
    assert made.returncode == 0, made.stdout[-3000:]
    return BUILD


@pytest.mark.parametrize("entry", ["regex", "grammar", "schema", "stream"])
def test_no_finding(entry: str, targets: Path, tmp_path: Path) -> None:
    seeds = ROOT / "core" / "fuzz" / "seeds" / entry
    command = [str(targets / f"fuzz_{entry}"), "--seconds", str(SECONDS), "--seed", "1", str(seeds)]
    found = tmp_path / "finding"
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "FUZZ_FINDING": str(found)})
    shown = found.read_bytes() if found.exists() else b""
    assert run.returncode == 0, f"{run.stderr[-3000:]}\nthe input: {shown!r}"
    assert int(run.stdout.split()[0]) > 50, "so few inputs find nothing"
