"""The README tells the truth: its commands run, and its tour runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.strip().splitlines()]


@pytest.mark.real
@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command):
    ours = command.replace("./run", f"{shlex.quote(sys.executable)} -m espalier")
    done = subprocess.run(ours, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.real
def test_tour_runs(capsys):
    [tour] = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(tour, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 5
