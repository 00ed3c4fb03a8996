"""`espalier bench pass`: what a pass costs on a device, on random weights of a real shape; no download, no tokenizer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

import espalier as es
from espalier.bench.bounds import against_bounds
from espalier.bench.decoding import NODES
from espalier.bench.peers import generate
from espalier.bench.report import emit, machine, median, show
from espalier.errors import require
from espalier.models.executors.choose_executor import DTYPES
from espalier.models.families import Config
from espalier.models.transformer import Transformer

SHAPES: dict[str, dict[str, int]] = {  # hidden, intermediate, layers, heads, kv heads, vocabulary
    "135m": {"hidden": 576, "ff": 1536, "layers": 30, "heads": 9, "kv": 3, "vocab": 49152},
    "1b": {"hidden": 2048, "ff": 8192, "layers": 16, "heads": 32, "kv": 8, "vocab": 128256},
    "3b": {"hidden": 3072, "ff": 8192, "layers": 28, "heads": 24, "kv": 8, "vocab": 128256},
    "8b": {"hidden": 4096, "ff": 14336, "layers": 32, "heads": 32, "kv": 8, "vocab": 128256},
}


def llama(shape: str) -> dict[str, Any]:
    """A Hugging Face configuration of a Llama of this size."""
    require(shape in SHAPES, f"--shape {shape}: use one of {', '.join(SHAPES)}")
    s = SHAPES[shape]
    return {
        "model_type": "llama",
        "vocab_size": s["vocab"],
        "hidden_size": s["hidden"],
        "intermediate_size": s["ff"],
        "num_hidden_layers": s["layers"],
        "num_attention_heads": s["heads"],
        "num_key_value_heads": s["kv"],
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "max_position_embeddings": 16384,
        "tie_word_embeddings": True,
    }


def random_weights(config: dict[str, Any], dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """Random tensors with the names and shapes of a Hugging Face Llama."""
    d, f, heads, kv = (config[k] for k in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"))
    width = d // heads
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], d), "model.norm.weight": (d,)}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        for name, rows in (("q", d), ("k", kv * width), ("v", kv * width), ("o", d)):
            shapes[at + f"self_attn.{name}_proj.weight"] = (rows, d)
        shapes |= {at + "mlp.gate_proj.weight": (f, d), at + "mlp.up_proj.weight": (f, d), at + "mlp.down_proj.weight": (d, f)}
        shapes |= {at + "input_layernorm.weight": (d,), at + "post_attention_layernorm.weight": (d,)}
    bits = torch.Generator(device).manual_seed(0)
    return {
        name: torch.ones(shape, dtype=dtype, device=device)
        if len(shape) == 1
        else torch.randn(shape, generator=bits, dtype=dtype, device=device) * 0.02
        for name, shape in shapes.items()
    }


def transformers_llama(config: dict[str, Any], weights: dict[str, Tensor], dtype: torch.dtype, device: str) -> Any:
    """transformers' Llama with these weights."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    model.load_state_dict(weights, assign=True, strict=False)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config).to(device)
    return model.to(dtype).eval()


def pass_bench(
    shape: str, dtype: str, device: str, context: int, tokens: int, batches: Sequence[int], rounds: int, peer: bool
) -> list[dict[str, Any]]:
    """Measures decoding at several batch sizes and the cost of tree nodes; prints tables and JSON lines."""
    config = llama(shape)
    kind = torch.bfloat16 if dtype in ("int8", "int4") else DTYPES[dtype]
    weights = random_weights(config, kind, device)
    model = Transformer.from_weights(Config.from_hf(config), weights, dtype, device, graphs=device == "cuda")
    systems: dict[str, Any] = {"espalier": None}  # first, made for each batch
    if peer and dtype not in ("int8", "int4"):
        theirs = transformers_llama(config, weights, kind, device)
        systems["transformers"] = lambda prompts, n: generate(theirs, prompts, n, min_new_tokens=n)
    bits = torch.Generator().manual_seed(1)
    if device != "cuda":
        against_bounds(model, config, dtype, context, batches, rounds)
    results = list[dict[str, Any]]()
    for batch in batches:
        prompts = torch.randint(10, 9000, (batch, context), generator=bits).tolist()
        read = [es.Prefix(prompt) for prompt in prompts]  # by the first round; held, so that no other reads them again
        systems["espalier"] = partial(ours, model, read)
        times: dict[str, list[float]] = {name: [] for name in systems}
        for turn in range(rounds + 1):
            for name, write in systems.items():
                one, many = clock(write, prompts, 1, device), clock(write, prompts, tokens, device)
                if turn:  # the first round warms up
                    times[name].append((many - one) / (tokens - 1))
        for name, values in times.items():
            step = median(values)
            row = {"bench": "pass", "system": name, "shape": shape, "dtype": dtype, "context": context, "batch": batch}
            results.append(row | {"ms_per_step": round(step, 3), "tokens_per_s": round(1e3 * batch / step, 1)})
    nodes = node_cost(model, context, rounds)
    results.append({"bench": "nodes", "system": "espalier", "shape": shape, "dtype": dtype, "context": context, "ms": nodes})
    where = torch.cuda.get_device_name() if device == "cuda" else machine()["processor"]
    columns = ("system", "batch", "ms_per_step", "tokens_per_s")
    show(f"{shape} {dtype} on {where}", columns, [[r[c] for c in columns] for r in results if r["bench"] == "pass"])
    show("ms per pass against tree nodes", ["nodes", *map(str, nodes)], [["ms", *nodes.values()]])
    emit({**result, **machine(), "device": where} for result in results)
    return results


def ours(model: Transformer, read: Sequence[es.Prefix], prompts: object, tokens: int) -> list[list[int]]:
    """Greedy continuations by this library of prompts that it has read, all in one loop."""
    scorer, stop = model | es.temperature(0), es.stop.budget(tokens)
    return [x.written() for x in es.run(*(es.sample(scorer, x, stop, es.Rng(0)) for x in read))]


def clock(generate: Any, prompts: Sequence[Sequence[int]], tokens: int, device: str) -> float:
    """Milliseconds of one call, the device's work included."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    generate(prompts, tokens)
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def node_cost(model: Transformer, context: int, rounds: int) -> dict[int, float]:
    """Median milliseconds of one pass over n new tree nodes below a cached prompt, read back as argmax."""
    x = es.Prefix(range(10, 10 + context))
    model.forward([x], frozenset())
    times: dict[int, list[float]] = {n: [] for n in NODES}
    for turn in range(5 * rounds):
        for n in NODES:
            y = x + (turn + 5)
            prefixes = [y, *(y + (100 + i) for i in range(n - 1))]
            start = time.perf_counter()
            for row in model.forward(prefixes, frozenset()):
                row.argmax()
            if turn >= rounds:
                times[n].append(1e3 * (time.perf_counter() - start))
    return {n: round(median(values), 3) for n, values in times.items()}
