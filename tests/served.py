"""Tiny random models behind the server, and clients for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import torch
from toys import tokenizer

import espalier as es
from espalier import serving
from espalier.bench.passes import random_weights
from espalier.models.families import Config
from espalier.models.transformer import Transformer

HI = [{"role": "user", "content": "hi"}]


def tiny(cache_mb: float = 8, context: int = 512, chat: bool = True) -> es.LanguageModel:
    """A random transformer of two layers over bytes; always the same."""
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {
        "model_type": "llama",
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": context,
        **sizes,
    }
    tokens = tokenizer(chat=chat)
    config |= {"vocab_size": tokens.vocab.size, "tie_word_embeddings": True}
    weights = random_weights(config, torch.float32, "cpu")
    return es.LanguageModel(Transformer.from_weights(Config.from_hf(config), weights), tokens, "tiny", cache_mb=cache_mb)


@asynccontextmanager
async def client(
    lm: es.LanguageModel | None = None, limits: serving.Limits | None = None, settings: serving.Settings | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server in this process."""
    with serving.Engine(tiny() if lm is None else lm, limits or serving.Limits(running=4)) as engine:
        app = serving.app(engine, settings or serving.Settings())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as made:
            made.engine = engine
            yield made


def chunks(text: str) -> list[dict[str, Any]]:
    """The events of a stream, whose end is checked."""
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]
