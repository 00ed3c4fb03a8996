"""Small exact language models with real tokenizers, for tests of everything above the scorer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

import espalier as es
from espalier.bench.passes import random_weights
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.text.tokenizer import Tokenizer

END = "<end>"


def tokenizer(merged: Sequence[str] = (), chat: bool = False) -> Tokenizer:
    """A byte-level tokenizer: 256 bytes, some longer tokens (never made by encoding), and one end token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: i for i, piece in enumerate([*alphabet, *merged])}
    backend = Backend(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END])
    template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}[assistant]"
    return Tokenizer(backend, {"eos_token": END} | ({"chat_template": template} if chat else {}))


def speaks(texts: Sequence[str], chat: bool = False, order: int = 16) -> es.LanguageModel:
    """A language model that has learnt these texts by heart (an n-gram model over bytes)."""
    tok = tokenizer(chat=chat)
    ids = [[*tok.encode(text), *tok.vocab.end] for text in texts]
    return es.LanguageModel(es.models.NGram(ids, tok.vocab.size, order, tok.vocab), tok, "toy")


def random_lm(seed: int = 0, depth: int = 2, merged: Sequence[str] = ()) -> es.LanguageModel:
    """A language model whose rows are random, over printable characters, spaces and the end token."""
    tok = tokenizer(merged)
    likely = torch.zeros(tok.vocab.size, dtype=torch.float64)
    likely[[i for i in range(tok.vocab.size) if tok.vocab[i].decode("utf-8", "replace").isalpha() or i in tok.vocab.end]] = 4
    table = es.models.Table.random(tok.vocab.size, depth, seed)
    model = es.models.Table(tok.vocab.size, depth, lambda context: table.row(context) + likely)
    return es.LanguageModel(model, tok, "toy")


def transformer(eager: bool = True, vocab_size: int = 23, seed: int = 0, **options: Any) -> Transformer:
    """A random transformer of two layers, whose attention and rows are far from flat."""
    sizes = {"hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 1024, **sizes}
    config |= {"vocab_size": vocab_size, "tie_word_embeddings": True}
    torch.manual_seed(seed)
    weights = {name: torch.randn_like(w) * 0.3 for name, w in random_weights(config, torch.float32, "cpu").items()}
    return Transformer.from_weights(Config.from_hf(config), weights, eager=eager, **options)
