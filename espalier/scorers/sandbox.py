"""Runs untrusted Python in a process of its own: limited time and memory, no network, no other processes, killed as a group."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from espalier.errors import require

# What the other process runs. It reads one JSON line, and answers one line per test, marked with a secret.
_RUNNER = r"""
import json, os, resource, sys
task = json.loads(sys.stdin.readline())
mark, memory, seconds = task["mark"], task["memory"], task["seconds"]
answers = os.fdopen(os.dup(1), "w")
quiet = os.open(os.devnull, os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(quiet, fd)
try:
    import ctypes
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)  # a user and a network namespace of its own, where that is allowed
except Exception:
    pass
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
refused = ("socket.", "subprocess.", "os.fork", "os.forkpty", "os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.kill",
           "os.killpg", "ctypes.", "ftplib.", "urllib.", "http.", "smtplib.", "webbrowser.")
def watch(event, arguments):
    if event.startswith(refused):
        raise PermissionError(event + " is not allowed here")
sys.addaudithook(watch)
for number, test in enumerate(task["tests"]):
    space = {"__name__": "__test__"}
    try:
        exec(compile(task["code"], "<candidate>", "exec"), space)
        exec(compile(test, "<test>", "exec"), space)
        passed = True
    except BaseException:
        passed = False
    answers.write(json.dumps([mark, number, passed]) + "\n")
    answers.flush()
"""


def passes(code: str, tests: Sequence[str], timeout: float = 2, memory_mb: int = 256) -> list[bool]:
    """Which tests run without an exception after the code, each in a space of its own; all within `timeout` seconds together.

    Guarantee: what does not end in time, dies, or needs more memory has not passed; when this returns, nothing of the process
    is left. Opening sockets and starting processes is refused. This keeps honest mistakes and loops in; it is no prison for
    an attacker.

    >>> passes("def f(x): return x + 1", ["assert f(1) == 2", "assert f(1) == 3"])
    [True, False]
    """
    require(timeout > 0, f"timeout={timeout}: a time above 0")
    require(memory_mb >= 64, f"memory_mb={memory_mb}: Python itself needs 64")
    mark = secrets.token_hex(16)
    limits = {"mark": mark, "memory": memory_mb * 2**20, "seconds": max(1, int(timeout + 1))}
    task = json.dumps({"code": code, "tests": list(tests), **limits}) + "\n"
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=place,
            env={"PATH": "", "HOME": place},
            start_new_session=True,
            text=True,
        )
        try:
            said, _ = process.communicate(task, timeout=timeout)
        except subprocess.TimeoutExpired:
            said = _killed(process)
        finally:
            _killed(process)
    return [[mark, i, True] in _answers(said) for i in range(len(tests))]


def _killed(process: subprocess.Popen[str]) -> str:
    """Ends the whole group, and gives what the process had said."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None and process.stdout.closed:
        return ""
    said, _ = process.communicate()
    return said or ""


def _answers(said: str) -> list[list[object]]:
    found = []
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found
