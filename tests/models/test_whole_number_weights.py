"""Weights that a checkpoint has as whole numbers are kept as they are: found again, multiplied, chosen by `auto`."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

import espalier as es
from espalier.models.executors import native
from espalier.models.executors.packing import holding, pack
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.testing import check_kv

from .test_native import with_exact_kv
from .test_transformer import chain, ours, tokens
from .tiny import random_model, write_gguf

if not native.available():
    pytest.skip("the native kernels are not built", allow_module_level=True)

HELD = {"Q4_0": "int4", "Q4_1": "int4", "Q8_0": "int8 by 32"}
SCALES = np.array([3e-7, 4.1e-5, 7.7e-4, 0.0312, 1.0, 6.7], np.float16)  # the least of them is denormal


def blocks(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Blocks of a file, as bytes: every scale with digits from every range, both signs."""
    few = (
        [(0, 15), (0, 1), (3, 9), (14, 15), (7, 7)] if kind != "Q8_0" else [(-127, 127), (-128, 5), (-1, 1), (100, 127), (9, 9)]
    )
    made = []
    for scale, (low, high), sign in product(SCALES, few, (1, -1)):
        digits = rng.integers(low, high + 1, 32)
        digits[:2] = low, high  # both ends are there
        if kind == "Q8_0":
            made.append(np.abs(scale).tobytes() + digits.astype(np.int8).tobytes())
            continue
        least = np.float16(sign * scale * np.float16(rng.uniform(0, 20)))
        if kind == "Q4_1" and low == high:
            digits[:] = 0  # a constant block has its least for the constant, as its writers make it
        head = np.float16(sign * scale).tobytes() if kind == "Q4_0" else scale.tobytes() + least.tobytes()
        made.append(head + (digits[:16] | digits[16:] << 4).astype(np.uint8).tobytes())
    return np.frombuffer(b"".join(made), np.uint8).reshape(len(made), -1)


@pytest.mark.parametrize("kind", HELD)
def test_every_block_of_a_file_is_found_again_exactly(kind: str) -> None:
    raw = blocks(kind, np.random.default_rng(0))
    values = torch.from_numpy(gguf.dequantize(raw, gguf.GGMLQuantizationType[kind]).reshape(-1, 96))  # an odd number of halves
    assert holding(values) == HELD[kind]
    packed = pack("int4", values, None)
    assert packed.kind == HELD[kind]
    assert np.array_equal(packed.expanded(), values.numpy())


@pytest.mark.parametrize("inputs", [32, 64, 70, 200])
def test_what_four_bits_do_not_hold_is_rounded_to_the_nearest_step(inputs: int) -> None:
    values = torch.randn(45, inputs, generator=torch.Generator().manual_seed(1))
    assert holding(values) is None
    for kind in ("float32", "bfloat16", "int8", "int4"):
        got = torch.from_numpy(pack(kind, values, None).expanded())
        width = {"float32": inputs, "bfloat16": 1, "int8": 64, "int4": 32}[kind]
        groups = torch.nn.functional.pad(values, (0, -inputs % width)).unflatten(1, (-1, width))
        span = {"int4": groups.amax(-1) - groups.amin(-1), "int8": 2 * groups.abs().amax(-1), "bfloat16": groups.abs().amax(-1)}
        steps = {"int4": 15, "int8": 254, "bfloat16": 128}
        room = span[kind] / steps[kind] / 2 if kind in span else torch.zeros(45, 1)
        error = torch.nn.functional.pad((got - values).abs(), (0, -inputs % width)).unflatten(1, (-1, width)).amax(-1)
        assert bool((error <= 1.02 * room + 2e-3 * (kind == "int4")).all())  # scale and least of int4 are half precision


def mixed() -> torch.nn.Module:
    """A model with the matrices of its layers in 4 bits, one of them and the head in 8."""
    model = random_model("llama")
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and "embed" not in name:
            kind = gguf.GGMLQuantizationType["Q8_0" if name.startswith(("lm_head", "model.layers.1.mlp.down")) else "Q4_1"]
            weight.data = torch.from_numpy(gguf.dequantize(gguf.quantize(weight.data.numpy(), kind), kind))
    return model


@pytest.fixture(params=native.kernels())
def instructions(request: pytest.FixtureRequest):
    native.choose(request.param)
    yield request.param
    native.choose(native.kernels()[0])


def test_a_row_has_the_same_bits_in_every_pass_of_a_model_in_several_formats(instructions: str) -> None:
    model = ours(mixed(), "native", "int4")
    check_kv(model, Rng(3), tolerance=0.0)
    x = Prefix(tokens(9))
    for rows in (1, 2, 5, 6, 7, 12, 13, 40):
        together = model.forward([x + i for i in range(rows)], frozenset()).logits
        assert torch.equal(together[-1], model.forward([x + (rows - 1)], frozenset()).logits[0])


def test_its_rows_are_those_of_the_same_weights_in_float32(instructions: str) -> None:
    peers, ids = mixed(), chain(tokens(30), 20)
    model = ours(peers, "native", "int4")
    _, _, head, layers = model.executor.parts
    assert [matrix.kind for matrix in layers[1][1]] == ["int4", "int4", "int4", "int8 by 32"]
    assert head.kind == "int8 by 32"
    exact = ours(peers, "eager").forward(ids, frozenset()).logits
    rows = with_exact_kv(model).forward(ids, frozenset()).logits
    assert float((rows - exact).abs().max()) < 2e-3 * float(exact.abs().max())  # inputs have 14 bits


@pytest.mark.parametrize(
    ("kind", "dtype"), [("Q4_0", "int4"), ("Q4_1", "int4"), ("Q8_0", "int8"), ("Q5_0", "int8"), ("Q5_1", "float32")]
)
def test_auto_keeps_what_a_file_has(kind: str, dtype: str, tmp_path: Path) -> None:
    model = random_model("llama")
    lm = es.load(write_gguf(tmp_path / "tiny.gguf", "llama", model, gguf.GGMLQuantizationType[kind]), device="cpu")
    assert lm.dtype == (dtype if native.quick() else "float32")
    plain = es.load(tmp_path / "tiny.gguf", dtype="float32", device="cpu")
    ids = [Prefix([1, 5, 9, 200, 31, 2])]
    apart = lm.model.forward(ids, frozenset()).logits - plain.model.forward(ids, frozenset()).logits
    assert float(apart.abs().max()) < 0.02
