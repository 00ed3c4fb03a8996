"""GGUF to the Hugging Face layout: configuration, names of tensors, and the changes llama.cpp makes to weights undone."""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from espalier.errors import EspalierError, LoadError
from espalier.models.families import BY_GGUF
from espalier.models.load.gguf import Parts
from espalier.models.load.gguf_config import hf_config
from espalier.text.from_gguf import end_ids, tokenizer_from_gguf

OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INNER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


class Checkpoint:
    """A GGUF file seen as a Hugging Face checkpoint: `.config`, `.settings`, `.backend` (tokenizer), and its tensors.

    Guarantee: every tensor has the values of the file, exactly (quantised ones expanded to float32), in the layout that
    transformers expects: llama.cpp interleaves the halves of q and k heads for its rotary embedding, and adds one to
    Gemma's norms; both are undone. A tensor that is not understood is a `LoadError`, never left out.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = Parts(path)
        metadata = self.file.metadata
        self.arch = metadata.get("general.architecture")
        if not isinstance(self.arch, str) or self.arch not in BY_GGUF:
            raise LoadError(
                f"{path} holds a model of the family {self.arch!r:.80} (general.architecture); from GGUF files "
                f"{', '.join(BY_GGUF)} can be read. Load its Hugging Face folder instead (any causal model runs through "
                "transformers)"
            )
        self.family = BY_GGUF[self.arch]
        self.names = {name: self._name(name) for name in self.file.tensors}
        try:
            self._check_layers()
            freqs = self.file.tensor("rope_freqs.weight") if "rope_freqs.weight" in self.file.tensors else None
            self.config = hf_config(metadata, self.family, str(path), self.file.tensors, freqs)
            self.backend, self.settings = tokenizer_from_gguf(metadata, str(path))
            self.ends = end_ids(metadata, self.backend)
            self._check_shapes()
        except (EspalierError, MemoryError):
            raise
        except Exception as error:  # a flipped bit can make any value any other; tokenizers raises bare Exception
            raise LoadError(
                f"{path} is damaged: its metadata makes no sense ({type(error).__name__}: {error}); delete it and "
                "download it again"
            ) from error

    def _check_layers(self) -> None:
        """Raises unless all layers that the file names are there, and the embedding."""
        layers = {int(name.split(".")[1]) for name in self.names if name.startswith("blk.")}
        count = self.file.metadata.get(f"{self.arch}.block_count")
        if layers != set(range(len(layers))) or len(layers) != count:
            raise LoadError(
                f"{self.file.path} names {count!r:.80} layers ({self.arch}.block_count) but has {len(layers)}; it is damaged "
                "or not whole"
            )
        if "token_embd.weight" not in self.file.tensors:
            raise LoadError(f"{self.file.path} has no token embeddings (token_embd.weight); it is not a whole model")

    def _name(self, name: str) -> str | None:
        if name == "rope_freqs.weight":
            return None  # it is in the configuration: see `_rope_scaling`
        if name in OUTER:
            return OUTER[name]
        inner = {**INNER, **self.family.inner}
        match = re.fullmatch(r"blk\.(\d{1,5})\.(\w+)\.(weight|bias)", name, re.ASCII)
        if match is None or match[2] not in inner:
            raise LoadError(f"{self.file.path} has a tensor {name!r} that a model of the family {self.arch!r} does not have")
        return f"model.layers.{match[1]}.{inner[match[2]]}.{match[3]}"

    def _check_shapes(self) -> None:
        config = self.config
        hidden, width = config["hidden_size"], config["intermediate_size"]
        head, vocab = config["head_dim"], config["vocab_size"]
        queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
        sides = {"q_proj": (queries, hidden), "k_proj": (keys, hidden), "v_proj": (keys, hidden), "o_proj": (hidden, queries)}
        sides |= {"gate_proj": (width, hidden), "up_proj": (width, hidden), "down_proj": (hidden, width)}
        sides |= {"embed_tokens": (vocab, hidden), "lm_head": (vocab, hidden), "q_norm": (head, 0), "k_norm": (head, 0)}
        for name, target in self.names.items():
            if target is None:
                continue
            part, kind = target.rsplit(".", 2)[-2:]
            matrix = kind == "weight" and "norm" not in part
            expected = sides.get(part, (hidden, 0))[: 2 if matrix else 1]
            if (shape := self.file.tensors[name].shape) != expected:
                raise LoadError(f"{self.file.path}: tensor {name} has the shape {shape}, not {expected}; the file is damaged")

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor with its Hugging Face name, one at a time in the order of the file."""
        for name, target in self.names.items():
            if target is not None:
                yield target, self.tensor(name)

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor of this name in the file, one of those with a Hugging Face name."""
        return self._undo(self.names[name] or "", self.file.tensor(name))

    def _undo(self, target: str, tensor: torch.Tensor) -> torch.Tensor:
        if re.search(r"\.[qk]_(proj|norm)\.", target) and (order := self._order()) is not None:
            if "_proj." in target:
                tensor = tensor.reshape(-1, self.config["head_dim"], *tensor.shape[1:])[:, order].reshape(tensor.shape)
            else:
                tensor = tensor[order]
        if self.family.gemma and target.endswith("norm.weight"):
            return tensor - 1
        return tensor

    def _order(self) -> torch.Tensor | None:
        """The order of the dimensions of a head in which the executor turns the pairs (i, i + half), if it is another.

        llama.cpp turns neighbours in the family `llama`, and the pairs of the first dimensions in the others where only a part
        of a head is turned; what is not turned stands anywhere, since its frequency is 0.
        """
        head, turned = int(self.config["head_dim"]), int(self.config.get("rotary_dim", self.config["head_dim"]))
        if self.family.gguf == "llama":
            return torch.arange(head).view(-1, 2).T.flatten()
        if turned == head:
            return None
        half, rest = turned // 2, torch.arange(turned, head)
        first, second = torch.arange(half), torch.arange(half, turned)
        return torch.cat([first, rest[: len(rest) // 2], second, rest[len(rest) // 2 :]])


def _write_safetensors(checkpoint: Checkpoint, path: Path, progress: Callable[[int], object]) -> None:
    """Writes the tensors one at a time, so that a model larger than memory can be converted."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, target in checkpoint.names.items():
        if target is not None:
            stored = checkpoint.file.tensors[name]
            size = math.prod(stored.shape) * stored.dtype.itemsize
            header[target] = {"dtype": DTYPES[stored.dtype], "shape": list(stored.shape), "data_offsets": [at, at + size]}
            at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in checkpoint.tensors():
            raw = tensor.contiguous().view(torch.uint8).numpy()
            out.write(raw.data)
            progress(raw.nbytes)


def size_of(checkpoint: Checkpoint) -> int:
    """The bytes that the converted weights take."""
    return sum(math.prod(stored.shape) * stored.dtype.itemsize for stored in checkpoint.file)


def convert(source: Path, folder: Path, progress: Callable[[int], object] = lambda done: None) -> None:
    """Writes a GGUF file into `folder` as a Hugging Face checkpoint that transformers loads too: config.json,
    generation_config.json, model.safetensors, tokenizer.json, tokenizer_config.json.

    `progress` is told how many bytes were written. Raises `LoadError` for files that cannot be read, `OSError` for a full disk.
    """
    checkpoint = Checkpoint(source)
    config = checkpoint.config
    ends = {k: v for k, v in config.items() if k.endswith("_token_id")}
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {**ends, "do_sample": False})
    _write_json(folder / "tokenizer_config.json", checkpoint.settings)
    checkpoint.backend.save(str(folder / "tokenizer.json"), pretty=False)
    _write_safetensors(checkpoint, folder / "model.safetensors", progress)
    for beside in ("LICENSE", "NOTICE"):
        if (path := source.parent / beside).exists():
            shutil.copy(path, folder / beside)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
