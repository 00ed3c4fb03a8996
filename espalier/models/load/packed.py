"""Packed weights kept in the cache folder: made once for a checkpoint and a format, mapped by every later load.

A file is found by what it was made of: the digests of the source files, the configuration, the format, and the layout of the
kernels. Where one of them changes another file is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espalier.models.executors import native, packing
from espalier.models.executors.weights import read_ends, read_layers, say_untied, untied
from espalier.models.families import Config
from espalier.models.load import cache, digests, packed_file
from espalier.models.load.folder import Weights, all_floating
from espalier.models.load.packed_file import Array
from espalier.models.load.progress import say

__all__ = ["engine", "folder", "noted", "noted_of"]

VERSION = 2  # of what is in a file; the kernels' own layout is counted apart
SMALL = 16 << 20  # bytes of source files that are packed in no time: nothing is kept of them
KEPT = 16 << 30  # bytes of all files together; beyond, the least recently used go
SPARE = 256 << 20  # bytes that are left free on the disk
MATRICES = ("qkv", "out", "gate_up", "down")


def folder() -> Path:
    """Where packed weights are kept."""
    return cache.home() / "packed"


def noted(about: Any, find: Callable[[], Any]) -> Any:
    """What `find()` says, a JSON value: kept in the cache folder under `about`, so that it is found once only."""
    file = folder() / "notes" / f"{_hash(about)}.json"
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        found = find()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(found), "utf-8")
        part.replace(file)
    except OSError:
        pass  # it is found again the next time
    return found


def noted_of(weights: Weights, what: str, find: Callable[[], Any]) -> Any:
    """What `find()` says of the tensors of these weights, kept like `noted` unless the files are small."""
    try:
        small = sum(path.stat().st_size for path in weights.sources) < SMALL
    except OSError:  # reading the tensors says what is wrong with the file
        small = True
    if small:
        return find()
    return noted([what, digests_of(weights.sources), VERSION], find)


def _hash(about: Any) -> str:
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:40]


def digests_of(sources: tuple[Path, ...]) -> list[str]:
    """The SHA-256 of each file; one that was not touched since it was last read is not read again."""

    def one(path: Path) -> str:
        stat = path.stat()
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < 2_000_000_000:  # may change within the same tick
            return digests.digest(path)
        about = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        return str(noted(about, lambda: digests.digest(path)))

    return [one(path) for path in sources]


def engine(config: Config, weights: Weights, dtype: torch.dtype, title: str) -> tuple[Config, native.Engine]:
    """The native executor of these weights in a format, and the configuration as the weights have it (see `untied`).

    The packed weights are mapped from the cache folder, and written there first unless they are there, whole. Two processes
    at once: one writes, the other waits and maps. Where they cannot be kept (a full disk, a folder that cannot be written) it
    is said, and they stay in memory.
    """
    if sum(path.stat().st_size for path in weights.sources) < SMALL:
        return _made(config, weights, dtype, title)
    made = None
    try:
        about = [digests_of(weights.sources), repr(replace(config, context=0)), packing.KINDS[dtype]]
        path = folder() / f"{_hash([*about, VERSION, packing.layout()])}.weights"
        if (found := _mapped(config, path, dtype)) is not None:
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        with cache.locked(path.stem, lambda: say(f"another process is packing {title}; waiting for it")):
            if (found := _mapped(config, path, dtype)) is not None:
                return found
            made = _made(config, weights, dtype, title)
            _keep(path, *made)
            weights.forget()
            if (found := _mapped(config, path, dtype)) is not None:
                return found
        raise OSError("it is not what was written when it is read again")
    except OSError as error:
        say(f"the packed weights of {title} are not kept: {error.strerror or error}; free some space or set ESPALIER_HOME")
    return made or _made(config, weights, dtype, title)


def _made(config: Config, weights: Weights, dtype: torch.dtype, title: str) -> tuple[Config, native.Engine]:
    tensors = all_floating(weights.tensors, title)
    config = untied(config, tensors)
    return config, native.Engine(config, read_layers(config, tensors), read_ends(config, tensors), dtype)


def _keep(path: Path, config: Config, engine: native.Engine) -> None:
    """Writes the file of these weights, and makes room for it among the others. Raises OSError if it cannot be written."""
    arrays = _arrays(engine)
    for left in path.parent.glob(f".{path.name}.*"):  # of a process that was killed; the lock is ours
        left.unlink(missing_ok=True)
    needed = sum(array.memory.nbytes for array in arrays.values())
    if shutil.disk_usage(path.parent).free < needed + SPARE:
        raise OSError(f"{needed / 1e6:.0f} MB are needed under {path.parent}, and {SPARE / 1e6:.0f} MB are left free")
    others = sorted(path.parent.glob("*.weights"), key=lambda other: -other.stat().st_atime)
    total = needed
    for other in others:
        total += other.stat().st_size
        if total > KEPT:
            other.unlink(missing_ok=True)
    packed_file.write(path, arrays, {"tied": config.tied})


def _arrays(engine: native.Engine) -> dict[str, Array]:
    embed, norm, head, layers = engine.parts
    found: dict[str, Array] = {}

    def numbers(name: str, plain: np.ndarray[Any, Any] | None, kind: str = "float32") -> None:
        if plain is not None:
            found[name] = Array(kind, plain.shape, np.ascontiguousarray(plain).reshape(-1).view(np.uint8))

    def matrix(name: str, packed: Any) -> None:
        found[name] = Array(packed.kind, packed.shape, packed.memory)
        numbers(f"{name}.bias", packed.biases)

    matrix("head", head)
    for index, (norms, matrices) in enumerate(layers):
        for name, packed in zip(MATRICES, matrices, strict=True):
            matrix(f"{index}.{name}", packed)
        for place, one in enumerate(norms):
            numbers(f"{index}.norm{place}", one)
    numbers("norm", norm.numpy())
    bits = embed.contiguous().view({2: torch.int16, 4: torch.int32}[embed.itemsize]).numpy()
    numbers("embed", bits, str(embed.dtype).removeprefix("torch."))  # the last one: see `packed_file.read`
    return found


def _mapped(config: Config, path: Path, dtype: torch.dtype) -> tuple[Config, native.Engine] | None:
    """The executor of a file; None if there is none, or it is not whole."""
    if (read := packed_file.read(path)) is None:
        return None
    arrays, note = read
    try:
        layers = [_layer(arrays, index) for index in range(config.layers)]
        embed, norm, head = _numbers(arrays, "embed"), _numbers(arrays, "norm"), _matrix(arrays, "head")
    except (KeyError, ValueError, TypeError):
        return None
    if config.tied and not note.get("tied"):
        say_untied()
        config = replace(config, tied=False)
    return config, native.Engine.of(config, packing.KINDS[dtype], embed, norm, head, layers)


def _numbers(arrays: Mapping[str, Array], name: str) -> Tensor:
    array = arrays[name]
    return torch.from_numpy(array.memory).view(getattr(torch, array.kind)).view(array.shape)


def _matrix(arrays: Mapping[str, Array], name: str) -> Any:
    array = arrays[name]
    bias = _numbers(arrays, f"{name}.bias").numpy() if f"{name}.bias" in arrays else None
    return packing.matrix(array.kind, array.shape, array.memory, bias)


def _layer(arrays: Mapping[str, Array], index: int) -> packing.PackedLayer:
    norms = [f"{index}.norm{place}" for place in range(6)]
    return (
        [_numbers(arrays, name).numpy() if name in arrays else None for name in norms],
        [_matrix(arrays, f"{index}.{name}") for name in MATRICES],
    )
