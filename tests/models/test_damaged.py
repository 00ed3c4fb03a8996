"""Files that are cut off, damaged or of the wrong kind are one clear `LoadError`, whatever is wrong with them."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espalier.errors import LoadError
from espalier.models.load.convert import convert
from espalier.models.load.folder import read_folder, read_gguf
from espalier.models.load.gguf import GGUF
from espalier.models.load.open import load

from .tiny import random_model, write_gguf


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("whole") / "tiny.gguf", "llama", random_model("llama", num_hidden_layers=1))


@pytest.fixture
def good(whole: Path) -> bytes:
    return whole.read_bytes()


@pytest.fixture
def folder(tmp_path: Path, good: bytes) -> Path:
    (tmp_path / "tiny.gguf").write_bytes(good)
    (tmp_path / "model").mkdir()
    convert(tmp_path / "tiny.gguf", tmp_path / "model")
    return tmp_path / "model"


def test_a_gguf_file_cut_off_anywhere_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    last = max(stored.offset + stored.size for stored in _tensors(good, tmp_path))
    for length in [*range(64), *range(64, last, 997), last - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(LoadError, match=r"truncated|damaged|empty|not a GGUF"):
            read_gguf(path)


def _tensors(good: bytes, tmp_path: Path) -> list:
    (tmp_path / "whole.gguf").write_bytes(good)
    return list(GGUF(tmp_path / "whole.gguf"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 7000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_gguf_file_with_flipped_bytes_loads_or_is_refused_but_never_fails_otherwise(
    whole: Path, tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    broken = bytearray(whole.read_bytes())
    for at, byte in flips:  # in the header: metadata and the list of tensors
        broken[at] = byte
    path = tmp_path / "flipped.gguf"
    path.write_bytes(broken)
    with contextlib.suppress(LoadError):
        read_gguf(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("kv_count", 1 << 60), ("tensor_count", 1 << 60), ("string", 1 << 63)],
)
def test_absurd_lengths_are_refused_at_once(field: str, value: int, good: bytes, tmp_path: Path) -> None:
    at = {"tensor_count": 8, "kv_count": 16, "string": 24}[field]
    path = tmp_path / "absurd.gguf"
    path.write_bytes(good[:at] + struct.pack("<Q", value) + good[at + 8 :])
    with pytest.raises(LoadError, match="damaged"):
        read_gguf(path)


def test_other_kinds_of_file_are_named(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(b"PK\x03\x04 not gguf")
    with pytest.raises(LoadError, match="not a GGUF file"):
        read_gguf(tmp_path / "a.gguf")
    (tmp_path / "b.gguf").write_bytes(good[:4] + struct.pack("<I", 9) + good[8:])
    with pytest.raises(LoadError, match="GGUF version 9"):
        read_gguf(tmp_path / "b.gguf")
    (tmp_path / "c.gguf").write_bytes(
        good.replace(
            b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
            b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba",
            1,
        )
    )
    with pytest.raises(LoadError, match="'mamba'"):
        read_gguf(tmp_path / "c.gguf")


def test_a_truncated_safetensors_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    for length in (0, 7, 100, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:length])
        with pytest.raises(LoadError, match="truncated or damaged"):
            read_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(LoadError, match="safetensors" if name == "model.safetensors" else name):
        read_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_broken_json_is_named(name: str, folder: Path) -> None:
    (folder / name).write_text('{"model_type": ')
    with pytest.raises(LoadError, match=name):
        read_folder(folder)


def test_a_missing_shard_is_named_and_all_shards_are_read(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    halves = (dict(list(tensors.items())[:4]), dict(list(tensors.items())[4:]))
    index = {}
    for i, half in enumerate(halves):
        save_file(half, folder / f"part{i}.safetensors")
        index |= dict.fromkeys(half, f"part{i}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert read_folder(folder).tensors.keys() == tensors.keys()
    (folder / "part1.safetensors").unlink()
    with pytest.raises(LoadError, match=r"part1\.safetensors"):
        read_folder(folder)


@pytest.mark.parametrize(
    "change",
    [{"hidden_size": "big"}, {"hidden_size": None}, {"num_attention_heads": 0}, {"num_attention_heads": 5}, {"vocab_size": 99}],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_refused(change: dict[str, Any], folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(LoadError, match=r"config"):
        load(folder)


@pytest.mark.parametrize("change", ["missing", "cut", "unknown"])
def test_weights_that_do_not_fit_the_configuration_are_refused(change: str, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    if change == "missing":
        del tensors[name]
    elif change == "cut":
        tensors[name] = tensors[name][:5].clone()
    else:
        tensors[name + "_more"] = tensors[name].clone()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(LoadError, match="up_proj"):
        load(folder)


def test_pickled_weights_are_not_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LoadError, match="pickle"):
        read_folder(folder)
