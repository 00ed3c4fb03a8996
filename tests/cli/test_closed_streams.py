"""A standard stream that is closed is one message, or nothing that matters."""

from __future__ import annotations

import subprocess
import sys

import pytest
from models.folders import gguf_file


@pytest.fixture(scope="module")
def tiny() -> str:
    return str(gguf_file())


def shell(arguments: str, tiny: str) -> subprocess.CompletedProcess[bytes]:
    command = f"exec {sys.executable} -m espalier {arguments.replace('MODEL', f'--model {tiny}')}"
    return subprocess.run(["sh", "-c", command], capture_output=True, timeout=120)


@pytest.mark.parametrize("arguments", ["generate hi --max-tokens 2 MODEL >&-", "models >&-", "generate hi MODEL >&- 2>&- <&-"])
def test_a_closed_output_is_told_before_any_work(arguments: str, tiny: str) -> None:
    done = shell(arguments, tiny)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert lines == ([] if "2>&-" in arguments else [lines[0]])
    assert "2>&-" in arguments or "standard output is closed" in lines[0]


@pytest.mark.parametrize(
    "arguments", ["generate hi --max-tokens 2 MODEL 2>&-", "generate hi --max-tokens 2 MODEL <&-", "models <&-"]
)
def test_other_closed_streams_are_not_missed(arguments: str, tiny: str) -> None:
    done = shell(arguments, tiny)
    assert done.returncode == 0
    assert done.stdout


def test_a_prompt_from_a_closed_input_is_empty(tiny: str) -> None:
    done = shell("generate MODEL <&-", tiny)
    assert done.returncode == 1
    assert b"prompt is empty" in done.stderr
