"""Drafts by skipped layers go on from what the target has read."""

from __future__ import annotations

import torch

import espalier as es
from espalier.bench.passes import random_weights
from espalier.drafting.self_draft.skip_layers import skip_layers
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.verification import SampleMatch


def tiny() -> Transformer:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 6, "num_attention_heads": 2, "vocab_size": 40}
    config = {"model_type": "llama", "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, **sizes}
    config |= {"tie_word_embeddings": True}
    return Transformer.from_weights(Config.from_hf(config), random_weights(config, torch.float32, "cpu"))


def test_skipped_layers_read_the_targets_keys_and_values(monkeypatch):
    """Layer by layer and bit for bit, behind every round; the prompt is read once; the text is the target's."""
    model, alone = tiny(), tiny()
    drafter = skip_layers(model, {2, 4}, length=es.drafting.Constant(3))
    part = drafter.scorer
    rows, plan = [], part.kv.plan
    monkeypatch.setattr(part.kv, "plan", lambda *a, **k: (made := plan(*a, **k), rows.append(made.rows))[0])
    x = es.Prefix([1 + i % 39 for i in range(60)])
    [y] = es.run(es.speculate(model | es.temperature(0), x, es.stop.budget(30), drafter, SampleMatch(), es.Rng(0)))
    [z] = es.run(es.sample(alone | es.temperature(0), es.Prefix(x.ids()), es.stop.budget(30), es.Rng(0)))
    assert y.ids() == z.ids()
    assert max(rows) <= 2  # never the prompt
    part._borrow([y + 1])
    compared = 0
    for node in y.up():
        mine, theirs = part.kv._run(node), model.kv._run(node)
        if mine is not None and theirs is not None:
            compared += len(node.tokens)
            ours, others = mine.slots.astype("int64"), theirs.slots.astype("int64")
            for at, layer in enumerate([0, 1, 3, 5]):
                assert torch.equal(part.kv.keys[at, ours], model.kv.keys[layer, others])
                assert torch.equal(part.kv.values[at, ours], model.kv.values[layer, others])
    assert compared >= 80
