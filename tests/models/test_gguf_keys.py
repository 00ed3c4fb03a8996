"""Every key of a GGUF file that matters is read or refused by its name; parts, end tokens and splits as in llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

import espalier as es
from espalier.errors import LoadError
from espalier.models.families import Config
from espalier.models.load.convert import Checkpoint
from espalier.models.load.gguf import GGUF
from espalier.models.rope import Rope
from espalier.text.gguf_splits import split

from .folders import BYTES, gguf_file, ours
from .tiny import random_model, write_gguf

_NAMES = (
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 deepseek-llm deepseek-coder deepseek-v3 falcon mpt "
    "starcoder gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum refact command-r qwen2 kormo "
    "deepseek-r1-qwen stablelm2 olmo dbrx smaug-bpe poro-chat glm4 chatglm-bpe viking jais tekken smollm codeshell bloom "
    "gpt3-finnish exaone exaone4 minerva-7b megrez gpt-4o llama4 superbpe trillion granite-docling bailingmoe bailingmoe2 "
    "llada-moe seed-coder hunyuan hunyuan-dense grok-2 minimax-m2 default"
)
LLAMA_NAMES = _NAMES.split()
TEXT = "It's 12345 o'clock,  naïve   Ünïcode 日本語!!\r\n\n\tdef f(x):\n  return x**2 ½ 😀<|x|>"


@pytest.mark.parametrize("name", LLAMA_NAMES)
def test_every_way_of_splitting_keeps_the_text(name: str) -> None:
    lm = es.load(gguf_file(pre=name))
    assert lm.tokenizer.decode(lm.tokenizer.encode(TEXT)) == TEXT
    assert (lm.prompt(es.raw("hi")).ids()[0] == 256) == split(name).begins


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("llama-bpe", ["It", "'s", "Ġ", "123", "45", "Ġdon", "'T"]),
        ("qwen2", ["It", "'s", "Ġ", "1", "2", "3", "4", "5", "Ġdon", "'T"]),
        ("gpt-2", ["It", "'s", "Ġ12345", "Ġdon", "'", "T"]),
        ("starcoder", ["It", "'s", "Ġ", "1", "2", "3", "4", "5", "Ġdon", "'", "T"]),
        ("tekken", ["It", "'s", "Ġ", "1", "2", "3", "4", "5", "Ġdon", "'T"]),
        ("gpt-4o", ["It's", "Ġ", "123", "45", "Ġdon'T"]),
        ("deepseek-v3", ["It", "'s", "Ġ", "123", "45", "Ġdon", "'T"]),
        ("superbpe", ["It'sĠ", "12", "345", "Ġdon'T"]),
    ],
)
def test_texts_are_split_as_the_models_were_trained(name: str, pieces: list[str]) -> None:
    assert [piece for piece, _ in split(name).pre_tokenizer().pre_tokenize_str("It's 12345 don'T")] == pieces


def test_an_unknown_way_of_splitting_is_never_guessed() -> None:
    with pytest.raises(LoadError, match=r"'somebodys'.*tokenizer\.ggml\.pre"):
        es.load(gguf_file(pre="somebodys"))


def test_flags_of_the_file_decide_about_bos_and_eos() -> None:
    key = "tokenizer.ggml.add_bos_token"
    assert es.load(gguf_file(kv={key: False})).prompt(es.raw("hi")).ids()[0] != 256
    assert es.load(gguf_file(pre="qwen2", kv={key: True})).prompt(es.raw("hi")).ids()[0] == 256
    ids = es.load(gguf_file(kv={"tokenizer.ggml.add_eos_token": True})).tokenizer.encode("hi", special=True)
    assert (ids[0], ids[-1]) == (256, 258)


def test_end_tokens_are_those_of_llama_cpp() -> None:
    def ends(tokens: list[str] | None = None, eos: int = 258, **kv: int) -> set[int]:
        keys = {f"tokenizer.ggml.{name}_token_id": id for name, id in kv.items()}
        return set(es.load(gguf_file(tokens=tokens, eos=eos, template=None, kv=keys)).vocab.end)

    plain = [*BYTES, "<a>", "<b>", "<c>", "<d>"]
    assert ends(plain) == {258}
    assert ends(plain, eot=259) == {258, 259}
    assert ends(plain, eot=259, eom=257) == {257, 258, 259}
    assert ends(plain, eot=5000) == {258}
    assert ends(eos=259, eot=258) == {258, 259}
    assert ends([*BYTES, "<|call|>", "<|return|>", "<c>", "<|end|>"]) == {256, 257, 258}
    assert ends([*BYTES, "<a>", "<b>", "<c>", "<|eot_id|>"]) == {258, 259}


def test_named_templates_of_a_gguf_file() -> None:
    lm = es.load(gguf_file(kv={"tokenizer.chat_template.tool_use": "T{{ tools | length }}"}))
    assert lm.tokenizer.chat_text("hi", tools=[{}]) == "T1"


def _reference_partial(x: torch.Tensor, position: int, theta: float, turned: int, neighbours: bool) -> torch.Tensor:
    """A head turned as llama.cpp turns it: pairs of neighbours, or (i, i + half) of the first dimensions."""
    y = x.clone()
    for i in range(turned // 2):
        angle = position * theta ** (-2 * i / turned)
        a, b = (2 * i, 2 * i + 1) if neighbours else (i, i + turned // 2)
        y[a] = x[a] * np.cos(angle) - x[b] * np.sin(angle)
        y[b] = x[a] * np.sin(angle) + x[b] * np.cos(angle)
    return y


@pytest.mark.parametrize("arch", ["llama", "qwen2"])
@pytest.mark.parametrize("turned", [8, 4, 16])
def test_partial_rotary_gives_the_scores_of_llama_cpp(arch: str, turned: int) -> None:
    path = gguf_file(arch=arch, kv={f"{arch}.rope.dimension_count": turned})
    raw, checkpoint = GGUF(path), Checkpoint(path)
    q, k = (raw.tensor(f"blk.0.attn_{name}.weight").view(-1, 16, 64)[0].double() for name in "qk")
    tensors = dict(checkpoint.tensors())
    q2, k2 = (tensors[f"model.layers.0.self_attn.{name}_proj.weight"].view(-1, 16, 64)[0].double() for name in "qk")
    rope = Config.from_hf(checkpoint.config).ropes[0].frequencies(16).double()
    torch.manual_seed(0)
    x, y = torch.randn(64, dtype=torch.float64), torch.randn(64, dtype=torch.float64)
    for m, n in ((0, 0), (5, 2), (300, 7)):
        want = _reference_partial(q @ x, m, 1e4, turned, arch == "llama") @ _reference_partial(
            k @ y, n, 1e4, turned, arch == "llama"
        )
        turn = [
            torch.cat([a * (p * rope).cos() - b * (p * rope).sin(), b * (p * rope).cos() + a * (p * rope).sin()])
            for p, h in ((m, q2 @ x), (n, k2 @ y))
            for a, b in [h.chunk(2)]
        ]
        assert float((turn[0] @ turn[1] - want).abs()) < 1e-4 * max(1.0, float(want.abs()))


def test_partial_rotary_reaches_the_kernels() -> None:
    part, whole = gguf_file(kv={"llama.rope.dimension_count": 8}), gguf_file()
    assert not torch.allclose(ours(es.load(part), [5, 6, 7]), ours(es.load(whole), [5, 6, 7]), atol=1e-3)


@pytest.mark.parametrize(
    ("kv", "scaling"),
    [
        ({"llama.rope.scale_linear": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 128,
            },
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
        ),
        ({"llama.rope.scaling.type": "none"}, None),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 1.0}, None),
    ],
)
def test_keys_of_scaling_are_read(kv: dict[str, Any], scaling: dict[str, Any] | None) -> None:
    assert Checkpoint(gguf_file(kv=kv)).config.get("rope_scaling") == scaling


def test_the_context_of_yarn_in_a_gguf_file() -> None:
    kv = {
        "llama.rope.scaling.type": "yarn",
        "llama.rope.scaling.factor": 8.0,
        "llama.rope.scaling.original_context_length": 128,
    }
    assert es.load(gguf_file(kv=kv)).context == 1024
    assert es.load(gguf_file(kv=kv), context=256).context == 256


@pytest.mark.parametrize(
    "kv",
    [
        {"llama.expert_count": 8},
        {"llama.logit_scale": 0.5},
        {"llama.attention.scale": 0.5},
        {"llama.attention.causal": False},
        {"llama.attention.sliding_window": 16},
        {"llama.final_logit_softcapping": 30.0},
        {"llama.attention.value_length": 8},
        {"llama.rope.scaling.type": "longrope"},
        {"llama.rope.dimension_count": 7},
        {"llama.rope.dimension_count": 64},
        {"llama.rope.scaling.factor": float("nan")},
        {"llama.rope.scaling.type": 5},
        {"llama.attention.key_length": "x"},
        {"llama.vocab_size": "x"},
        {"general.alignment": "abc"},
        {"general.alignment": 0},
        {"tokenizer.chat_template.x": True},
        {"tokenizer.ggml.add_bos_token": 1},
        {"tokenizer.ggml.eot_token_id": "x"},
        {"tokenizer.ggml.padding_token_id": 1.5},
        {"split.count": "x"},
        {"split.no": True},
    ],
    ids=str,
)
def test_a_key_that_matters_is_refused_by_its_name(kv: dict[str, Any]) -> None:
    with pytest.raises(LoadError) as caught:
        es.load(gguf_file(kv=kv))
    assert next(iter(kv)) in str(caught.value)


def test_rows_that_are_no_whole_blocks_are_refused(tmp_path: Path) -> None:
    raw = bytearray(gguf_file().read_bytes())
    name = b"token_embd.weight"
    at = raw.index(name) + len(name) + 4 + 16
    raw[at : at + 4] = int(gguf.GGMLQuantizationType.Q4_K).to_bytes(4, "little")
    (tmp_path / "m.gguf").write_bytes(raw)
    with pytest.raises(LoadError, match=r"token_embd\.weight has the impossible shape"):
        es.load(tmp_path / "m.gguf")


def test_lists_in_lists_in_lists_are_refused(tmp_path: Path) -> None:
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    key = (1).to_bytes(8, "little") + b"x" + (9).to_bytes(4, "little")
    nested = ((9).to_bytes(4, "little") + (1).to_bytes(8, "little")) * 900
    (tmp_path / "m.gguf").write_bytes(head + key + nested + bytes(64))
    with pytest.raises(LoadError, match="other lists"):
        es.load(tmp_path / "m.gguf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("parts") / "whole.gguf", "llama", random_model("llama", num_hidden_layers=2))


def in_parts(whole: Path, count: int) -> list[Path]:
    """The same model in files of their own, the metadata in the first."""
    reader = gguf.GGUFReader(whole)
    paths = [whole.with_name(f"m-{i + 1:05}-of-{count:05}.gguf") for i in range(count)]
    for i, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        for key, field in reader.fields.items():
            if i == 0 and not key.startswith("GGUF.") and key != "general.architecture":
                kind = field.types[0]
                inner = field.types[1] if kind == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(key, field.contents(), kind, inner)
        writer.add_uint16("split.count", count)
        writer.add_uint16("split.no", i)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[i::count]:
            writer.add_tensor(tensor.name, np.array(tensor.data))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths


def test_a_split_file_is_read_whole_from_any_of_its_parts(whole: Path) -> None:
    want = ours(es.load(whole), [5, 6, 7])
    parts = in_parts(whole, 3)
    for part in parts:
        assert torch.equal(ours(es.load(part), [5, 6, 7]), want)
    parts[1].rename(parts[1].with_suffix(".away"))
    with pytest.raises(LoadError, match=r"split in 3; m-00002-of-00003\.gguf must lie beside it"):
        es.load(parts[0])
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(LoadError, match="do not belong together"):
        es.load(parts[0])


def test_one_part_alone_is_named_as_such() -> None:
    kv = {"split.count": 2, "split.no": 0, "split.tensors.count": 21}
    with pytest.raises(LoadError, match="one part of a split in 2"):
        es.load(gguf_file(drop=["output.weight"], kv=kv))


def test_frequencies_that_are_nobodys_are_used_one_by_one() -> None:
    rope = Rope(1e4, "longrope", factors=(1.0, 2.0))
    assert rope.frequencies(4).tolist() == pytest.approx([1.0, 0.005])
