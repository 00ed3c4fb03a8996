"""The file of packed weights: written whole or not at all, read by mapping it.

A magic line, the length of a header, the header (JSON: how long the file is, when it was written, what each array is and
where), and the arrays, each at a multiple of 64 bytes. A file that was cut, or written to since, is no such file.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espalier.models.executors import native

__all__ = ["Array", "read", "write"]

MAGIC = b"espalier packed\n"
ALIGNED, BEHIND = 64, 4096  # where an array may begin; what a kernel may read behind the last one
PIECE = 8 << 20  # written at once, at multiples of itself: file systems then keep it in large pages
HEADERS = 64 << 20  # the longest header that is believed
LARGE = 32 << 20  # files from this size are read on large pages


@dataclass(frozen=True)
class Array:
    """Numbers of one kind ("float32", or that of a packed matrix) and shape, and the bytes that hold them."""

    kind: str
    shape: tuple[int, ...]
    memory: np.ndarray[Any, np.dtype[np.uint8]]


def write(path: Path, arrays: Mapping[str, Array], note: Mapping[str, Any]) -> None:
    """Writes the file, in a temporary one beside it that takes its place. Raises OSError where the disk will not take it."""
    places, at = [], 0
    for name, array in arrays.items():
        places.append([name, array.kind, array.shape, at, array.memory.nbytes])
        at += -(-array.memory.nbytes // ALIGNED) * ALIGNED
    written = int(time.time()) // 2 * 2  # file systems keep times to two seconds at worst
    said = {"written": written, "data": at, "note": dict(note), "arrays": places}
    header = json.dumps(said).encode()
    header += b" " * (-(len(MAGIC) + 8 + len(header)) % ALIGNED)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            for piece in _pieces([MAGIC + struct.pack("<Q", len(header)) + header], arrays.values()):
                if file.write(piece) != len(piece):
                    raise OSError(28, "No space left on device")
            os.fsync(handle)
        os.utime(name, (written, written))
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _pieces(head: list[bytes], arrays: Any) -> Iterator[memoryview]:
    """The bytes of the file in pieces of one size, but for the last."""
    room, filled = bytearray(PIECE), 0
    for part in [*head, *(array.memory for array in arrays), bytes(BEHIND)]:
        flat = memoryview(part).cast("B")
        rest = [flat, memoryview(bytes(-len(flat) % ALIGNED))]
        while rest:
            taken = min(len(rest[0]), PIECE - filled)
            room[filled : filled + taken] = rest[0][:taken]
            filled += taken
            if filled == PIECE:
                yield memoryview(room)
                filled = 0
            rest[0] = rest[0][taken:]
            if not len(rest[0]):
                rest.pop(0)
    yield memoryview(room)[:filled]


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]] | None:
    """The arrays and the note of a file, mapped; None if there is none, or it is not what was written.

    Where the system maps files on small pages only, the arrays are copied into memory on large ones: a pass streams through
    all weights, and takes up to twice as long where each 4 KB must be looked up. The last array is left where it is, on small
    pages: an embedding, of which few rows are read.
    """
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            begin = file.read(len(MAGIC) + 8)
            length = struct.unpack("<Q", begin[len(MAGIC) :])[0]
            if begin[: len(MAGIC)] != MAGIC or length > min(HEADERS, stat.st_size):
                return None
            header = json.loads(file.read(length))
            data = len(begin) + length
            if stat.st_size != data + header["data"] + BEHIND or int(stat.st_mtime) != header["written"]:
                return None
            places = header["arrays"]
            sparse = (data + places[-1][3]) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            stream, rows = _map(file.fileno(), 0, data + places[-1][3]), _map(file.fileno(), sparse, stat.st_size - sparse)
        os.utime(path, (time.time(), header["written"]))  # used now: the least recently used file goes first
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            rows.madvise(mmap.MADV_NOHUGEPAGE)
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error):
        return None
    memory, last, arrays = _on_large_pages(np.frombuffer(stream, np.uint8)), np.frombuffer(rows, np.uint8), {}
    for name, kind, shape, at, size in places:
        arrays[name] = Array(kind, tuple(shape), memory[data + at : data + at + size])
    first = data + places[-1][3] - sparse
    arrays[name] = Array(kind, tuple(shape), last[first : first + size])
    return arrays, header["note"]


def _map(file: int, first: int, count: int) -> mmap.mmap:
    """A part of a file. Nobody writes to it, but torch wants memory that could be written to."""
    return mmap.mmap(file, count, access=mmap.ACCESS_COPY, offset=first)


def _on_large_pages(mapped: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The mapping itself if the system maps it on large pages, or has none; else a copy on large pages."""
    if mapped.nbytes < LARGE or not _system_has_large_pages():
        return mapped
    native.read(mapped[: mapped.nbytes // 4 * 4].view(np.float32))
    if _large(mapped.ctypes.data) >= mapped.nbytes * 3 // 4:
        return mapped
    import torch

    copy = native.zeros(mapped.nbytes, dtype=torch.uint8).numpy()
    np.copyto(copy, mapped)
    return copy


def _system_has_large_pages() -> bool:
    try:
        return "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


def _large(address: int) -> int:
    """How many bytes of the mapping at this address lie on large pages, as Linux says."""
    inside = False
    try:
        with Path("/proc/self/smaps").open() as lines:
            for line in lines:
                name, _, rest = line.partition(" ")
                if not name.endswith(":"):
                    first, last = (int(end, 16) for end in name.split("-"))
                    inside = first <= address < last
                elif inside and name == "FilePmdMapped:":
                    return int(rest.split()[0]) * 1024
    except (OSError, ValueError):
        pass
    return 0
