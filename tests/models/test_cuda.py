"""The executor on CUDA: padding changes nothing, and captured passes equal the reference (where there is a device)."""

from __future__ import annotations

import pytest
import torch

import espalier as es
from espalier.models.executors.cuda import padded
from espalier.models.executors.eager import Eager, Inputs
from espalier.models.families import Config
from espalier.models.transformer import Transformer

CONFIG = {
    "model_type": "llama",
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def weights() -> dict[str, torch.Tensor]:
    bits = torch.Generator().manual_seed(0)
    shapes = {"model.embed_tokens.weight": (97, 64), "model.norm.weight": (64,)}
    for i in range(3):
        at = f"model.layers.{i}."
        shapes |= {at + f"self_attn.{n}_proj.weight": (w, 64) for n, w in (("q", 64), ("k", 32), ("v", 32), ("o", 64))}
        shapes |= {at + f"mlp.{n}_proj.weight": (96, 64) for n in ("gate", "up")} | {at + "mlp.down_proj.weight": (64, 96)}
        shapes |= {at + f"{n}_layernorm.weight": (64,) for n in ("input", "post_attention")}
    return {name: torch.randn(*shape, generator=bits) * 0.2 for name, shape in shapes.items()}


def tree() -> list[es.Prefix]:
    x = es.Prefix(range(1, 40))
    y = x + 5
    return [x, y, y + 6, y + 7, x + 8 + 9, es.Prefix([3, 4, 5])]


def test_a_padded_pass_gives_the_rows_of_the_pass():
    model = Transformer.from_weights(Config.from_hf(CONFIG), weights(), eager=True, budget=1 << 20)
    plan = model.kv.plan(tree())
    eager = model.executor
    assert isinstance(eager, Eager)
    [rows] = list(plan.passes(256))
    inputs = Inputs.of(rows)
    wide = padded(inputs)
    assert len(wide.tokens) == 64
    assert len(wide.seen) == 256
    plain, _ = eager.compute(inputs, model.kv.keys, model.kv.values, False)
    keys = model.kv.keys.clone()
    again, _ = eager.compute(wide, model.kv.keys, model.kv.values, False)
    assert torch.allclose(plain, again[: len(plain)], atol=1e-5)
    assert torch.allclose(keys, model.kv.keys, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_captured_passes_equal_the_reference(dtype):
    config = Config.from_hf(CONFIG)
    fast = Transformer.from_weights(config, weights(), dtype, "cuda", graphs=True)
    slow = Transformer.from_weights(config, weights(), dtype, "cuda", eager=True)
    for turn in range(3):  # the second turn replays
        prefixes = [x + turn for x in tree()]
        want = frozenset({"hidden", "layers"})
        a, b = fast.forward(prefixes, want), slow.forward(prefixes, want)
        tolerance = 1e-3 if dtype == "float32" else 0.15
        assert torch.allclose(a.logits, b.logits, atol=tolerance)
        assert torch.allclose(a.extras["layers"], b.extras["layers"], atol=tolerance)
