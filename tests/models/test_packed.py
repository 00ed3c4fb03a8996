"""Packed weights are kept, mapped by later loads with the same bits, and made again whenever they are not what was written."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import espalier as es
from espalier.models.executors import native
from espalier.models.load import folder as load_folder
from espalier.models.load import packed, packed_file
from tests.models.folders import folder, gguf_file, ours

IDS = (5, 6, 7, 9, 200, 11)
pytestmark = pytest.mark.skipif(not native.available(), reason="the native kernels are not built")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(packed, "SMALL", 0)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def llama() -> Path:
    return folder(attention_bias=True)


def kept(home: Path) -> list[Path]:
    return sorted((home / "packed").glob("*.weights"))


def never_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_made", lambda *_: pytest.fail("packed again"))


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8", "int4"])
@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma3"])
def test_a_second_load_maps_the_same_bits(dtype: str, kind: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(kind, head_dim=16)
    monkeypatch.setattr(packed, "SMALL", 1 << 40)
    plain = ours(es.load(place, dtype), IDS)
    assert not (home / "packed").exists()
    monkeypatch.setattr(packed, "SMALL", 0)
    first = ours(es.load(place, dtype), IDS)
    [file] = kept(home)
    written = file.stat().st_mtime_ns
    never_packed(monkeypatch)
    lm = es.load(place, dtype)
    assert torch.equal(plain, first)
    assert torch.equal(plain, ours(lm, IDS))
    assert file.stat().st_mtime_ns == written
    assert str(file) in Path("/proc/self/maps").read_text() if sys.platform == "linux" else True
    shutil.rmtree(place)


def test_a_gguf_file_is_kept_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gguf_file()
    first = ours(es.load(path, "fp32"), IDS)
    never_packed(monkeypatch)
    assert torch.equal(first, ours(es.load(path, "fp32"), IDS))


def test_memory_is_copied_where_large_pages_cannot_be_mapped(llama: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ours(es.load(llama, "int8"), IDS)
    monkeypatch.setattr(packed_file, "LARGE", 0)
    monkeypatch.setattr(packed_file, "_system_has_large_pages", lambda: True)
    monkeypatch.setattr(packed_file, "_large", lambda address: 0)
    never_packed(monkeypatch)
    assert torch.equal(first, ours(es.load(llama, "int8"), IDS))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(-packed_file.BEHIND - 8, 2)
        opened.write(b"\xff" * 8)
    os.utime(file, (0, 12345))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def strange(file: Path) -> None:
    file.write_bytes(b"{}" * 5000)


@pytest.mark.parametrize("harm", [cut, flip, empty, strange])
def test_a_file_that_is_not_what_was_written_is_made_again(harm, llama: Path, home: Path) -> None:
    first = ours(es.load(llama, "int8"), IDS)
    [file] = kept(home)
    size = file.stat().st_size
    harm(file)
    assert torch.equal(first, ours(es.load(llama, "int8"), IDS))
    assert kept(home) == [file]
    assert file.stat().st_size == size


def test_other_weights_under_the_same_name_are_packed_anew(llama: Path, tmp_path: Path, home: Path) -> None:
    place = tmp_path / "m"
    shutil.copytree(llama, place)
    first = ours(es.load(place, "int8"), IDS)
    from safetensors.torch import load_file, save_file

    weights = load_file(place / "model.safetensors")
    stat = (place / "model.safetensors").stat()
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, place / "model.safetensors", {"format": "pt"})
    os.utime(place / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not torch.equal(first, ours(es.load(place, "int8"), IDS))
    assert len(kept(home)) == 2


def test_a_disk_that_is_full_is_said_and_the_model_runs(
    llama: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed_file, "write", full)
    lm = es.load(llama, "int8")
    assert torch.isfinite(ours(lm, IDS)).all()
    said = capsys.readouterr().err
    assert "are not kept: No space left on device" in said
    assert "ESPALIER_HOME" in said
    assert kept(home) == []


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    array = packed_file.Array("uint8", (3,), np.arange(3, dtype=np.uint8))
    with pytest.raises(KeyboardInterrupt):
        packed_file.write(tmp_path / "a.weights", {"a": array}, {})
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_any_length_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_file, "PIECE", 1000)
    rng = np.random.default_rng(0)
    arrays = {
        str(size): packed_file.Array("uint8", (size,), rng.integers(0, 256, size, np.uint8))
        for size in (1, 63, 64, 65, 999, 5000)
    }
    packed_file.write(tmp_path / "a.weights", arrays, {"tied": True})
    found = packed_file.read(tmp_path / "a.weights")
    assert found is not None
    assert found[1] == {"tied": True}
    for name, array in arrays.items():
        assert (found[0][name].memory == array.memory).all()
        assert found[0][name].shape == array.shape
        assert found[0][name].memory.ctypes.data % packed_file.ALIGNED == 0


def test_the_least_recently_used_files_go(llama: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in ("fp32", "bf16"):
        es.load(llama, dtype)
    old = next(file for file in kept(home) if file.stat().st_size == max(f.stat().st_size for f in kept(home)))
    os.utime(old, (1, old.stat().st_mtime))
    monkeypatch.setattr(packed, "KEPT", old.stat().st_size + 100_000)
    es.load(llama, "int8")
    assert old not in kept(home)
    assert len(kept(home)) == 2


PROGRAM = """
import sys
from espalier.models.load import packed
packed.SMALL = 0
import espalier as es
lm = es.load(sys.argv[1], "int8")
print(lm.model.forward([es.Prefix([5, 6, 7])], frozenset()).logits.double().sum().item())
"""


def test_two_processes_at_once_agree(llama: Path, home: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(llama)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert all(process.returncode == 0 for process in both), said
    assert said[0][0] == said[1][0]
    assert len(kept(home)) == 1


def test_nothing_of_the_source_lives_on(llama: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, born = load_folder.read_tensors, []

    def watched(place: Path) -> dict[str, torch.Tensor]:
        tensors = read(place)
        born.extend(weakref.ref(tensor) for tensor in tensors.values())
        return tensors

    made, engines = packed._made, []

    def packing(*about: object) -> object:
        config, engine = made(*about)
        engines.append(weakref.ref(engine))
        return config, engine

    monkeypatch.setattr(load_folder, "read_tensors", watched)
    monkeypatch.setattr(packed, "_made", packing)
    lm = es.load(llama, "int8")  # packs
    gc.collect()
    assert born
    assert engines
    assert not any(one() is not None for one in (*born, *engines))
    born.clear()
    again = es.load(llama, "int8")  # maps
    assert not born
    assert torch.equal(ours(lm, IDS), ours(again, IDS))


def freed_and_held() -> int:
    """Bytes of the process after many small pieces were freed with one at the top of them still held."""
    size = 64 << 20
    pieces = [bytes(4096) for _ in range(size // 4096)]
    last = pieces[-1]
    pieces.clear()
    return len(last)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_goes_back_to_the_system() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    native.trim_memory()
    before = resident()
    assert freed_and_held() == 4096
    native.trim_memory()
    assert resident() - before < 32 << 20
