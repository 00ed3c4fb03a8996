"""A model folder can do nothing but give a model: no code, no question, no file of elsewhere, no weight that was made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import espalier as es
from espalier.errors import LoadError

from .folders import SIZES, change, folder


def test_code_of_a_folder_never_runs_and_nobody_is_asked(tmp_path: Path) -> None:
    place, proof = folder(), tmp_path / "PWNED"
    autos = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.T", "evil.T"]}
    (place / "evil.py").write_text(f"open({str(proof)!r}, 'w').write('x')\nclass C: pass\nM = T = C\n")
    change(place / "tokenizer_config.json", {"auto_map": autos})
    change(place / "config.json", {"model_type": "evil", "auto_map": autos})
    done = subprocess.run(
        [sys.executable, "-m", "espalier", "generate", "hello", "--raw", "--max-tokens", "2", "--model", str(place)],
        input=b"y\n" * 5,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert b"code of its own" in done.stderr
    assert not proof.exists()
    with pytest.raises(LoadError, match=r"config\.json.*code of its own"):
        es.load(place)


def test_code_beside_a_family_that_transformers_knows_does_not_run_either(tmp_path: Path) -> None:
    place, proof = folder("GPT2", n_embd=64, n_layer=1, n_head=4), tmp_path / "PWNED"
    (place / "evil.py").write_text(f"open({str(proof)!r}, 'w').write('x')\nclass C: pass\nM = C\n")
    (place / "custom_generate").mkdir()
    (place / "custom_generate" / "generate.py").write_text((place / "evil.py").read_text())
    auto = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    change(place / "config.json", {"auto_map": auto, "_attn_implementation": "evil/kernels", "use_kernels": True})
    assert es.load(place).complete(es.raw("hi"), max_tokens=2).tokens
    assert not proof.exists()


@pytest.mark.parametrize(
    "elsewhere", ["../other/model.safetensors", "/etc/hostname", "a/../../x", "~/x", "..\\x", "", "a\nb", "."]
)
def test_a_shard_index_cannot_lead_out_of_its_folder(elsewhere: str) -> None:
    place = folder()
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": elsewhere}}))
    with pytest.raises(LoadError, match=r"index\.json: weight_map says .* model\.norm\.weight: a shard lies in the folder"):
        es.load(place)


@pytest.mark.parametrize("name", ["x" * 5000, "/" + "x" * 5000, "a\0b", "\udcff/x/y", "~nobody_at_all/x", "org/" + "x" * 3000])
def test_a_name_that_nothing_can_have_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LoadError):
        es.load(name)


FILES = ["config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json", "generation_config.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["folder", "pipe", "loop", "endless"])
def test_what_is_no_file_is_not_read(name: str, what: str) -> None:
    place = folder()
    (place / name).unlink(missing_ok=True)
    if what == "folder":
        (place / name).mkdir()
    elif what == "pipe":
        os.mkfifo(place / name)
    else:
        (place / name).symlink_to("/dev/zero" if what == "endless" else place / name)
    if what == "loop" and name in ("tokenizer_config.json", "generation_config.json"):
        return  # as if it were not there
    with pytest.raises(LoadError, match=r"not a file|does not exist|no tokenizer\.json|holds no weights"):
        es.load(place)


@pytest.mark.parametrize("wrong", [5, None, ["x"], {"a": 1}, True])
def test_a_shard_index_names_files(wrong: Any) -> None:
    place = folder()
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": wrong}}))
    with pytest.raises(LoadError, match=r"index\.json: weight_map says .* for model\.norm\.weight"):
        es.load(place)
    (place / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": wrong if not isinstance(wrong, dict) else []})
    )
    with pytest.raises(LoadError, match=r"index\.json: weight_map is"):
        es.load(place)


def test_weights_of_another_model_are_refused_through_transformers_too() -> None:
    place = folder()
    shape = {"model_type": "gpt2", "vocab_size": 259, "n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": 64}
    (place / "config.json").write_text(json.dumps(shape))
    with pytest.raises(LoadError, match=r"tensors of the model are missing.*transformer\.h\.0"):
        es.load(place)


@pytest.mark.parametrize("kind", ["GPT2", "OPT", "GPTNeoX"])
def test_one_missing_or_misshapen_tensor_is_refused_through_transformers(kind: str) -> None:
    extra = {"GPT2": {"n_embd": 64, "n_layer": 1, "n_head": 4}, "OPT": {"ffn_dim": 128, "word_embed_proj_dim": 64}}
    place = folder(kind, **{**extra.get(kind, {}), "pad_token_id": 1})
    whole = load_file(place / "model.safetensors")
    for name in [name for name, tensor in whole.items() if tensor.dim() == 2][-2:]:
        save_file({k: v for k, v in whole.items() if k != name}, place / "model.safetensors", {"format": "pt"})
        with pytest.raises(LoadError, match=f"missing.*{name.split('.', 1)[1]}"):
            es.load(place)
        save_file(
            {k: v[:3].clone() if k == name else v for k, v in whole.items()}, place / "model.safetensors", {"format": "pt"}
        )
        with pytest.raises(LoadError, match="another shape"):
            es.load(place)


@pytest.mark.parametrize("kind", ["Llama", "GPT2"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_told_at_load(kind: str, value: float) -> None:
    place = folder(kind, **({"n_embd": 64, "n_layer": 1, "n_head": 4} if kind == "GPT2" else {}))
    whole = load_file(place / "model.safetensors")
    name = next(name for name, tensor in whole.items() if tensor.dim() == 2)
    whole[name][1, 2] = value
    save_file(whole, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(LoadError, match=f"{name} has weights that are not numbers"):
        es.load(place)


def test_weights_whose_sum_overflows_are_still_numbers() -> None:
    place = folder()
    whole = load_file(place / "model.safetensors")
    whole["model.embed_tokens.weight"][:4] = 3e38
    save_file(whole, place / "model.safetensors", {"format": "pt"})
    assert es.load(place).vocab.size == SIZES["vocab_size"]
