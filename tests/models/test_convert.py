"""A GGUF file that is converted gives back the model that was stored: its tensors, its logits, its tokenizer."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from espalier.models.families import Config
from espalier.models.load.convert import Checkpoint, convert
from espalier.models.load.folder import read_folder, read_gguf

from .tiny import FAMILIES, SHAPE, random_model, write_gguf

IDS = torch.tensor([[1, 5, 256, 99, 7, 200, 31, 2, 64, 128, 3, 17, 90, 12, 11, 10, 45, 46, 47, 48, 49, 50]])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_converted_folder_has_the_logits_of_the_model_that_was_stored(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = random_model(family)
    convert(write_gguf(tmp_path / "tiny.gguf", family, model), tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, again(IDS).logits, atol=1e-5)
    assert max(abs(float(t.sum())) for t in again.state_dict().values()) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_the_file_and_reading_what_it_was_converted_to_are_the_same(family: str, tmp_path: Path) -> None:
    model = random_model(family)
    path = write_gguf(tmp_path / "tiny.gguf", family, model)
    (folder := tmp_path / "folder").mkdir()
    convert(path, folder)
    direct, converted = read_gguf(path), read_folder(folder)
    assert direct.tensors.keys() == converted.tensors.keys()
    for name, tensor in direct.tensors.items():
        assert torch.equal(tensor, converted.tensors[name]), name
        # float32 cannot hold every `(w + 1) - 1`; everything else comes back bit for bit
        exact = family != "gemma3" or "norm" not in name
        reference = model.state_dict()[name]
        assert torch.equal(tensor, reference) if exact else torch.allclose(tensor, reference, atol=2e-7), name
    assert direct.tokenizer.vocab == converted.tokenizer.vocab
    assert direct.tokenizer.vocab.size == SHAPE["vocab_size"]
    assert direct.tokenizer.vocab.end == {257}


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16", "BF16"])
def test_quantised_weights_are_what_the_format_defines(kind: str, tmp_path: Path) -> None:
    quantization = gguf.GGMLQuantizationType[kind]
    model = random_model("qwen3")
    path = write_gguf(tmp_path / "tiny.gguf", "qwen3", model, quantization)
    for name, tensor in Checkpoint(path).tensors():
        reference = model.state_dict()[name].numpy()
        if reference.ndim == 2:
            packed = gguf.quantize(reference, quantization)
            reference = gguf.dequantize(packed, quantization).astype(np.float32)
        assert np.array_equal(tensor.float().numpy(), reference.reshape(tensor.shape)), name


def test_llama3_rope_scaling_is_found_from_its_factors(tmp_path: Path) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_theta": 5e5,
    }
    model = random_model("llama", rope_parameters=scaling)
    plain = 1 / 5e5 ** (torch.arange(0, 32, 2).float() / 32)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, "cpu")
    for factors, known in ((plain / scaled, True), (plain / scaled * torch.linspace(1, 1.5, 16), False)):
        state = dict(model.state_dict())
        path = tmp_path / "rope.gguf"
        write_gguf(path, "llama", model)
        file = _with_tensor(path, "rope_freqs.weight", factors.numpy())
        assert len(state) > 0
        if known:
            found = Checkpoint(file).config["rope_scaling"]
            assert found == {key: value for key, value in scaling.items() if key != "rope_theta"}
        else:
            scaled = Config.from_hf(Checkpoint(file).config).ropes[0].frequencies(32)
            assert torch.allclose(scaled, plain / factors.float(), rtol=1e-5)


def _with_tensor(path: Path, name: str, values: np.ndarray) -> Path:
    """The same file with one more tensor, through the reference reader and writer."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(str(path.with_suffix(".more.gguf")), "llama")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kind = field.types[0]
            inner = field.types[1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.with_suffix(".more.gguf")
