"""Model files broken at random: flips, cuts, other types and other keys; each gives a model or one of our own errors."""

from __future__ import annotations

import json
import random
import shutil
import signal
import struct
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import espalier as es
from espalier.errors import EspalierError

from .folders import folder, gguf_file

_NUMBERS: list[Any] = [0, 1, -1, 2, 7, 3.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), 2**31, 2**32 - 1, 2**63, 10**30]
_TEXTS = [
    "",
    "x",
    "0",
    "\ud800",
    "\x00",
    "é" * 50,
    "x" * 5000,
    "../../x",
    "{{ 1 // 0 }}",
    "{% for",
    "<|im_end|>",
    "auto",
    "yarn",
]
_LISTS: list[Any] = [[], [None], [1], [-1], ["x"], [[]], [0] * 1000, ["a", 1]]
_OBJECTS: list[Any] = [{}, {"a": 1}, {"type": "x"}, {"content": "x"}, {"content": 5}, {"": {}}]
VALUES: list[Any] = [None, True, False, *_NUMBERS, *_TEXTS, *_LISTS, *_OBJECTS]
SECONDS = 20


@cache
def _whole(kind: str) -> Path:
    if kind == "gguf":
        return gguf_file().rename(Path(tempfile.mkdtemp()) / "m.gguf")
    files = {"generation_config.json": {"eos_token_id": [258]}, "special_tokens_map.json": {"bos_token": "<|endoftext|>"}}
    files["added_tokens.json"] = {"<|im_end|>": 258}
    settings = {
        "added_tokens_decoder": {"258": {"content": "<|im_end|>", "special": True}},
        "additional_special_tokens": ["<|im_start|>"],
    }
    sizes = {"n_embd": 64, "n_layer": 1, "n_head": 4} if kind == "GPT2" else {"num_hidden_layers": 1}
    place = folder(kind, files=files, settings=settings, **sizes)
    names = list(_safetensors(place / "model.safetensors")[0])
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, "model.safetensors")}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    return place


def _safetensors(path: Path) -> tuple[dict[str, Any], bytes]:
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def _spots(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all members of a JSON value, long lists and mappings by some of theirs."""
    if path:
        yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for at, (name, value) in enumerate(inner):
        if at < 40:
            yield from _spots(value, (*path, name))


def _other_member(content: Any, rng: random.Random) -> Any:
    """The same JSON value with one member replaced, renamed or left out."""
    spots = list(_spots(content))
    if not spots:
        return rng.choice(VALUES)
    *way, last = rng.choice(spots)
    content = json.loads(json.dumps(content))
    inner = content
    for name in way:
        inner = inner[name]
    what = rng.random()
    if what < 0.75:
        inner[last] = rng.choice(VALUES)
    elif what < 0.85 and isinstance(inner, dict):
        inner[rng.choice(["x", "", "0", "model_type", "\ud800", str(last).upper()])] = inner.pop(last)
    else:
        del inner[last]
    return content


def _other_bytes(raw: bytes, rng: random.Random, within: int) -> bytes:
    """The same bytes cut off, or with some of the first `within` changed."""
    if rng.random() < 0.3:
        return raw[: rng.randrange(min(within, len(raw)))]
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(within, len(raw)))
        changed[at] = rng.choice([rng.randrange(256), 0, 255, changed[at] ^ (1 << rng.randrange(8))])
    return bytes(changed)


def _gguf_value(value: Any) -> bytes:
    """A value as GGUF writes it, its kind in front."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<Iq", 11, max(-(2**63), min(2**63 - 1, value)))
    if isinstance(value, float):
        return struct.pack("<Id", 12, value)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return struct.pack("<IQ", 8, len(text)) + text
    if isinstance(value, list) and value:
        parts = [_gguf_value(entry) for entry in value]
        return struct.pack("<I", 9) + parts[0][:4] + struct.pack("<Q", len(parts)) + b"".join(part[4:] for part in parts)
    return struct.pack("<IIQ", 9, 4, 0)


def _other_key(raw: bytes, metadata: dict[str, Any], rng: random.Random) -> bytes:
    """A GGUF file whose metadata have one key with another value, twice, renamed or left out; its tensors stay aligned."""
    (tensors,) = struct.unpack("<Q", raw[8:16])
    keys = list(metadata)
    chosen = rng.choice(keys)
    parts: list[bytes] = []
    for key in keys:
        name, value = key.encode(), metadata[key]
        if key == chosen:
            what = rng.random()
            if what < 0.1:
                continue
            if what < 0.15:
                name = rng.choice([b"llama.expert_count", b"x", b"general.alignment", b"split.count", b"\xff"])
            if isinstance(value, list) and what < 0.5:
                value = list(value)
                value[rng.randrange(len(value)) if value else 0 :][:1] = [rng.choice(VALUES)]
            else:
                value = rng.choice(VALUES)
        parts.append(struct.pack("<Q", len(name)) + name + _gguf_value(value))
    infos, data = _gguf_rest(raw)
    head = raw[:8] + struct.pack("<QQ", tensors, len(parts)) + b"".join(parts) + infos
    return head + bytes(-len(head) % 32) + data


@cache
def _gguf_parts() -> tuple[bytes, dict[str, Any]]:
    from espalier.models.load.gguf import GGUF

    path = _whole("gguf")
    return path.read_bytes(), dict(GGUF(path).metadata)


def _gguf_rest(raw: bytes) -> tuple[bytes, bytes]:
    """What lies behind the metadata: the list of tensors, and the tensors."""
    from espalier.models.load.gguf import GGUF

    file = GGUF(_whole("gguf"))
    first = min(stored.offset for stored in file)
    begin = raw.index(struct.pack("<Q", len(b"token_embd.weight")) + b"token_embd.weight")
    return raw[begin : _infos_end(raw, begin, len(file.tensors))], raw[first:]


def _infos_end(raw: bytes, at: int, count: int) -> int:
    for _ in range(count):
        (size,) = struct.unpack_from("<Q", raw, at)
        (rank,) = struct.unpack_from("<I", raw, at + 8 + size)
        at += 8 + size + 4 + 8 * rank + 12
    return at


def broken(rng: random.Random, work: Path) -> tuple[str, Path]:
    """What was broken, and where the model lies: a folder or a file that is `work`'s alone."""
    shutil.rmtree(work, ignore_errors=True)
    kind = rng.choice(["gguf", "gguf", "Llama", "Llama", "GPT2"])
    if kind == "gguf":
        work.mkdir()
        raw, metadata = _gguf_parts()
        some = rng.random() < 0.6
        path = work / "m.gguf"
        path.write_bytes(_other_key(raw, metadata, rng) if some else _other_bytes(raw, rng, 9000))
        return f"gguf {'key' if some else 'bytes'}", path
    shutil.copytree(_whole(kind), work)
    names = sorted(path.name for path in work.iterdir() if path.is_file())
    name = rng.choice([*names, "config.json", "config.json", "tokenizer_config.json", "tokenizer.json"])
    path = work / name
    if name == "model.safetensors":
        header, data = _safetensors(path)
        text = json.dumps(_other_member(header, rng)).encode()
        raw = struct.pack("<Q", len(text)) + text + data
        path.write_bytes(raw if rng.random() < 0.6 else _other_bytes(path.read_bytes(), rng, 3000))
    elif rng.random() < 0.8:
        path.write_text(json.dumps(_other_member(json.loads(path.read_text()), rng)))
    else:
        path.write_bytes(_other_bytes(path.read_bytes(), rng, 6000))
    return f"{kind} {name}", work


@contextmanager
def _patience(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tried(count: int, seed: int, tell: Callable[[str], object] = lambda text: None) -> tuple[Counter[str], list[str]]:
    """How many of these inputs gave a model and how many an error of ours, and all that gave anything else."""
    ends: Counter[str] = Counter()
    foreign: list[str] = []
    work = Path(tempfile.mkdtemp()) / "model"
    for at in range(count):
        rng = random.Random(seed * 1_000_003 + at)
        what, path = broken(rng, work)
        began = time.monotonic()
        try:
            with warnings.catch_warnings(), _patience(SECONDS):
                warnings.simplefilter("ignore")
                lm = es.load(path)
                lm.complete("hi", max_tokens=2)
                lm.complete(es.raw("hi"), max_tokens=2, temperature=1.0, seed=0)
            ends["a model"] += 1
        except EspalierError as error:
            ends[type(error).__name__] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            foreign.append(f"seed {seed} input {at}, {what}: {type(error).__name__}: {str(error)[:200]}")
            tell(foreign[-1])
        if (took := time.monotonic() - began) > 5:
            tell(f"slow: seed {seed} input {at}, {what}: {took:.1f} s")
    shutil.rmtree(work.parent, ignore_errors=True)
    return ends, foreign
