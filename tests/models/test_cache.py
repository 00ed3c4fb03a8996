"""A cached model is whole or absent, whatever interrupts its making."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from espalier.errors import LoadError
from espalier.models.load import cache, digests


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


def test_what_was_cut_off_or_changed_since_is_made_again(home: Path) -> None:
    folder = cache.build("m", fill)
    assert json.loads((folder / "digests.json").read_text())["model.safetensors"]["bytes"] == 7
    for harm in (
        lambda: (folder / "model.safetensors").write_bytes(b"weigh"),
        lambda: (folder / "model.safetensors").write_bytes(b"Weights"),
        lambda: (folder / "model.safetensors").unlink(),
        lambda: (folder / "config.json").unlink(),
        lambda: (folder / "digests.json").write_text("{"),
        lambda: (folder / "digests.json").write_text("[]"),
    ):
        harm()
        assert cache.complete("m") is None
        assert cache.build("m", fill) == folder
        assert (folder / "model.safetensors").read_bytes() == b"weights"
    touched = folder / "config.json"
    os.utime(touched)
    assert cache.complete("m") == folder
    stat = (folder / "model.safetensors").stat()
    (folder / "model.safetensors").write_bytes(b"Weights")
    os.utime(folder / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.whole(folder)  # the same size, the same time: only a thorough look finds it
    assert not digests.whole(folder, thorough=True)


@pytest.mark.parametrize("junk", ["file", "folder", "link"])
def test_junk_in_the_place_of_a_model_is_replaced(junk: str, home: Path, tmp_path: Path) -> None:
    place = home / "models" / "m"
    place.parent.mkdir(parents=True)
    if junk == "file":
        place.write_text("junk")
    elif junk == "folder":
        place.mkdir()
        (place / "junk").touch()
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "kept").touch()
        place.symlink_to(tmp_path / "elsewhere")
    assert cache.build("m", fill) == place
    assert sorted(path.name for path in place.iterdir()) == ["config.json", "digests.json", "model.safetensors"]
    assert junk != "link" or (tmp_path / "elsewhere" / "kept").exists()


def test_a_folder_without_digests_is_whole_if_its_weights_do_not_break_off(home: Path) -> None:
    place = home / "models" / "m"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    assert cache.complete("m") is None
    save_file({"x": torch.ones(3)}, place / "model.safetensors")
    assert cache.complete("m") == place
    raw = (place / "model.safetensors").read_bytes()
    for cut in (0, 5, 20, len(raw) - 1):
        (place / "model.safetensors").write_bytes(raw[:cut])
        assert cache.complete("m") is None
