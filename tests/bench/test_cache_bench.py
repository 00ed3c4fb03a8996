"""The benchmarks of the prefix cache and of throughput, on a tiny model: what they count is right."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from toys import tokenizer

import espalier as es
from espalier.bench.passes import random_weights
from espalier.bench.prefix_cache import cache_bench, chat, shared_prompts
from espalier.bench.throughput import of_length, throughput, throughput_bench
from espalier.models.executors import native
from espalier.models.families import Config
from espalier.models.transformer import Transformer

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")


def tiny(cache_mb: float = 8) -> es.LanguageModel:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {"model_type": "llama", "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, **sizes}
    config |= {"vocab_size": tokenizer().vocab.size, "tie_word_embeddings": True}
    model = Transformer.from_weights(Config.from_hf(config), random_weights(config, torch.float32, "cpu"))
    return es.LanguageModel(model, tokenizer(), cache_mb=cache_mb)


def test_every_turn_of_a_chat_knows_the_turns_before():
    lines = chat(tiny(), turns=4, said=10, answer=5)
    assert [line["turn"] for line in lines] == [1, 2, 3, 4]
    for before, line in itertools.pairwise(lines):
        assert line["cached"] >= before["prompt"]
        assert line["prompt"] - line["cached"] <= 11  # what the user said, and the answer's last token
    assert all(line["ratio"] > 0 for line in lines)


def test_shared_prompts_are_read_once_each():
    found = shared_prompts(tiny(), requests=12, systems=2, length=40, own=4)
    assert found["hit_rate"] >= (12 - 2) * 40 / (12 * 44) - 0.01
    assert found["cache_mb"] <= found["budget_mb"]
    with pytest.raises(es.InvalidInput, match="no prefix cache"):
        chat(tiny(cache_mb=0), 1, 1, 1)


def test_throughput_compares_the_same_texts(tmp_path: Path):
    lm = tiny()
    inputs = of_length([[1, 2, 3, 4], [5, 6]], 20, 3)
    assert [len(ids) for ids in inputs] == [20, 20, 20]
    lines = throughput(lm, inputs, {"espalier lookup": es.drafting.PromptLookup()}, 8)
    assert [line["system"] for line in lines] == ["espalier", "espalier lookup"]
    assert all(line["same_text"] == 1 for line in lines)
    assert lines[0]["tokens_per_pass"] == 3
    assert lines[1]["tokens_per_pass"] >= 3
    log = tmp_path / "log.jsonl"
    first = throughput_bench(lm, [[1, 2, 3]], "fp32", ["lookup"], [8], [1], 4, log)
    both = throughput_bench(lm, [[1, 2, 3]], "fp32", ["lookup"], [8, 16], [1], 4, log)
    assert both[: len(first)] == first
    assert len(both) == 2 * len(first)
    none = throughput_bench(lm, [[1, 2, 3]], "fp32", ["lookup"], [8, 16, 24], [1], 4, log, seconds=0)
    assert none == both
    with pytest.raises(es.InvalidInput, match="do not fit"):
        throughput_bench(lm, [[1]], "fp32", ["lookup"], [511], [1], 4)
    assert cache_bench(lm, "fp32", 2, 4, 2, 4, 2, 8, 2)[-1]["part"] == "shared prompts"
