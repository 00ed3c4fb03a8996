"""A cached model is whole or absent, whatever interrupts its making."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from espalier.errors import LoadError
from espalier.models.load import cache


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def fill(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")


def leftovers(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir())


def test_built_once_then_used(home: Path) -> None:
    made: list[Path] = []
    first = cache.build("m", lambda folder: (made.append(folder), fill(folder)))
    assert cache.build("m", lambda folder: pytest.fail("built twice")) == first == home / "models" / "m"
    assert cache.complete("m") == first
    assert cache.size(first) == 9
    assert made[0] != first
    assert leftovers(home) == ["m"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LoadError("bad digest"), RuntimeError("bug")])
def test_an_interruption_leaves_nothing_and_the_next_try_succeeds(error: BaseException, home: Path) -> None:
    def breaks(folder: Path) -> None:
        fill(folder)
        raise error

    with pytest.raises(type(error)):
        cache.build("m", breaks)
    assert cache.complete("m") is None
    assert leftovers(home) == []
    assert cache.build("m", fill).name == "m"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_disk_that_refuses_is_one_clear_error(code: int, home: Path) -> None:
    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(code, os.strerror(code))

    with pytest.raises(LoadError, match="ESPALIER_HOME") as caught:
        cache.build("m", full)
    assert os.strerror(code) in str(caught.value)
    assert leftovers(home) == []


def test_a_home_that_cannot_be_made_is_one_clear_error(home: Path) -> None:
    home.write_text("a file, not a folder")
    with pytest.raises(LoadError, match="ESPALIER_HOME"):
        cache.build("m", fill)


def test_too_little_space_is_told_before_anything_is_fetched() -> None:
    with pytest.raises(LoadError, match="are free"):
        cache.require_space(1 << 60, "the model 'm'")


WORKER = """
import os, sys, time
from pathlib import Path
from espalier.models.load import cache
def fill(folder):
    with open(sys.argv[1], "a") as log: log.write("filled\\n")
    time.sleep(0.5)
    (folder / "config.json").write_text("{}")
    if sys.argv[2] == "die": os.kill(os.getpid(), 9)
print(cache.build("m", fill))
"""


def worker(log: Path, way: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(log), way], stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_builds_and_all_get_it(tmp_path: Path, home: Path) -> None:
    workers = [worker(tmp_path / "log", "live") for _ in range(2)]
    assert [(w.communicate()[0].strip(), w.returncode) for w in workers] == [(str(home / "models" / "m"), 0)] * 2
    assert (tmp_path / "log").read_text() == "filled\n"


def test_what_a_killed_process_left_is_not_used_and_is_removed(tmp_path: Path, home: Path) -> None:
    assert worker(tmp_path / "log", "die").wait() == -9
    assert cache.complete("m") is None
    assert len(leftovers(home)) == 1
    cache.build("m", fill)
    assert leftovers(home) == ["m"]
