"""Reading GGUF files: the metadata and the tensors, every length checked against the file before it is believed."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import gguf
import numpy as np
import torch

from espalier.errors import LoadError
from espalier.text.json_files import refuse_pointer

LONGEST, DEEPEST = 1 << 24, 4  # entries of a list in the metadata, lists in lists
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies in the file: `shape` is in torch's order (outer dimension first)."""

    name: str
    shape: tuple[int, ...]
    kind: str
    offset: int
    size: int

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the stored values are exact: a quantised weight is scale times integer, which needs float32."""
        return PLAIN.get(self.kind, torch.float32)


class GGUF:
    """The metadata (`.metadata`, key to Python value) and tensors (`.tensors`) of one GGUF file (versions 2 and 3).

    Raises `LoadError` for a file that is not GGUF, is damaged, or ends before its last tensor does. Reference: the GGUF
    specification of the ggml project (docs/gguf.md). Quantised tensors are expanded by the `gguf` package.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            if not self.path.is_file():
                raise LoadError(f"{path} is not a file")
            with self.path.open("rb") as begin:
                refuse_pointer(self.path, begin.read(64))
            self._bytes: np.ndarray[Any, np.dtype[np.uint8]] = np.memmap(self.path, dtype=np.uint8, mode="r")
        except ValueError:
            raise LoadError(f"{path} is empty; download it again") from None
        except OSError as error:
            raise LoadError(f"{path} cannot be read: {error.strerror}") from error
        self._view = memoryview(self._bytes)  # type: ignore[arg-type]
        self._at = 0
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, Stored] = {}
        try:
            self._read_header()
        except (struct.error, UnicodeDecodeError, OverflowError) as error:
            self._damaged(f"its header breaks off or makes no sense at byte {self._at} ({error})")

    def _damaged(self, why: str) -> NoReturn:
        raise LoadError(f"{self.path} is truncated or damaged: {why}; delete it and download it again")

    def _scalar(self, code: str) -> Any:
        value = struct.unpack_from("<" + code, self._view, self._at)[0]
        self._at += struct.calcsize("<" + code)
        return value

    def _string(self) -> str:
        length = struct.unpack_from("<Q", self._view, self._at)[0]
        start = self._at + 8
        if start + length > len(self._view):
            self._damaged(f"a string of {length} bytes at byte {self._at} does not fit in its {len(self._view)} bytes")
        self._at = start + length
        return str(self._view[start : self._at], "utf-8")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            inner, count = self._scalar("I"), self._scalar("Q")
            if count > LONGEST or depth > DEEPEST:
                self._damaged(f"a list of {count} entries in {depth} other lists at byte {self._at}")
            if inner in SCALARS:
                code = SCALARS[inner]
                size = struct.calcsize("<" + code) * count
                if self._at + size > len(self._view):
                    self._damaged(f"a list of {count} numbers at byte {self._at} does not fit")
                values = list(struct.unpack_from(f"<{count}{code}", self._view, self._at))
                self._at += size
                return values
            if count * 8 > len(self._view):
                self._damaged(f"a list of {count} entries at byte {self._at} does not fit")
            return [self._value(inner, depth + 1) for _ in range(count)]
        if kind not in SCALARS:
            self._damaged(f"unknown kind of value {kind} at byte {self._at}")
        return self._scalar(SCALARS[kind])

    def _read_header(self) -> None:
        if bytes(self._view[:4]) != b"GGUF":
            raise LoadError(f"{self.path} is not a GGUF file (it begins with {bytes(self._view[:4])!r}, not b'GGUF')")
        self._at = 4
        version = self._scalar("I")
        if version not in (2, 3):
            raise LoadError(f"{self.path} has GGUF version {version}; versions 2 and 3 (little-endian) can be read")
        tensors, fields = self._scalar("Q"), self._scalar("Q")
        for _ in range(fields):
            key = self._string()
            if key in self.metadata:
                self._damaged(f"it has the key {key[:80]!r} twice")
            self.metadata[key] = self._value(self._scalar("I"))
        stored = []
        for _ in range(tensors):
            name, rank = self._string(), self._scalar("I")
            if rank > 8:
                self._damaged(f"tensor {name[:80]!r} has {rank} dimensions")
            shape = tuple(reversed([self._scalar("Q") for _ in range(rank)]))
            kind, offset = self._scalar("I"), self._scalar("Q")
            stored.append((name, shape, kind, offset))
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or isinstance(alignment, bool) or not 0 < alignment <= 1 << 20:
            raise LoadError(f"{self.path}: general.alignment is {alignment!r:.80}, not a number of bytes")
        start = -(-self._at // alignment) * alignment
        for name, shape, kind, offset in stored:
            try:
                quantization = gguf.GGMLQuantizationType(kind)
            except ValueError:
                raise LoadError(f"{self.path}: tensor {name} has the unknown type {kind}; `pip install -U gguf`") from None
            block, width = gguf.GGML_QUANT_SIZES[quantization]
            count = math.prod(shape)
            if not shape or not count or shape[-1] % block or name in self.tensors:
                self._damaged(f"tensor {name} has the impossible shape {shape}")
            size = count // block * width
            if start + offset + size > len(self._view):
                self._damaged(f"it ends at byte {len(self._view)}, tensor {name} at byte {start + offset + size}")
            self.tensors[name] = Stored(name, shape, quantization.name, start + offset, size)

    def tensor(self, name: str) -> torch.Tensor:
        """The values of one tensor, exactly: expanded to float32 if quantised, else in the dtype of the file (a view)."""
        stored = self.tensors[name]
        raw = self._bytes[stored.offset : stored.offset + stored.size]
        if stored.kind in PLAIN:
            return torch.frombuffer(bytearray(raw.tobytes()), dtype=stored.dtype).reshape(stored.shape)
        rows = raw.reshape(-1, stored.size // math.prod(stored.shape[:-1]))
        try:
            values = gguf.dequantize(rows, gguf.GGMLQuantizationType[stored.kind])
        except NotImplementedError as error:
            raise LoadError(f"{self.path}: tensors of type {stored.kind} cannot be expanded ({error})") from error
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).reshape(stored.shape)

    def __iter__(self) -> Iterator[Stored]:
        return iter(self.tensors.values())


class Parts:
    """A GGUF model in one file or several (`name-00001-of-00003.gguf`), as if it were one; any part names the others.

    Raises `LoadError` for a part that is missing, of another model, or whose name does not say where the others are.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        first = GGUF(self.path)
        count = _number(first, "split.count", 1)
        self.files = [first] if count <= 1 else [GGUF(part) for part in _siblings(first, count)]
        numbers = [_number(file, "split.no", 0) for file in self.files]
        if count > 1 and (numbers != list(range(count)) or any(_number(f, "split.count", 1) != count for f in self.files)):
            raise LoadError(
                f"{path}: its parts say that they are numbers {numbers} of a split in {count}; they do not belong together"
            )
        self.metadata = self.files[0].metadata
        self._where = {name: file for file in self.files for name in file.tensors}
        self.tensors = {name: file.tensors[name] for name, file in self._where.items()}
        total = _number(first, "split.tensors.count", len(self.tensors)) if count > 1 else len(self.tensors)
        if total != len(self.tensors):
            raise LoadError(
                f"{path}: split.tensors.count is {total}, but its parts have {len(self.tensors)} tensors; one is missing"
            )

    def tensor(self, name: str) -> torch.Tensor:
        """The values of one tensor, exactly (see `GGUF.tensor`)."""
        return self._where[name].tensor(name)

    def __iter__(self) -> Iterator[Stored]:
        return iter(self.tensors.values())


def _number(file: GGUF, key: str, default: int) -> int:
    value = file.metadata.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1 << 20:
        raise LoadError(f"{file.path}: {key} is {value!r:.80}, not a number")
    return value


def _siblings(first: GGUF, count: int) -> list[Path]:
    """The files of all parts, in order."""
    found = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})", first.path.stem)
    if found is None or int(found[3]) != count:
        raise LoadError(
            f"{first.path} is one part of a split in {count} (split.count) but is not called name-00001-of-{count:05}.gguf, so "
            "the other parts cannot be found; give all parts the names that they had"
        )
    parts = [first.path.with_name(f"{found[1]}-{i + 1:05}-of-{count:05}{first.path.suffix}") for i in range(min(count, 1000))]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise LoadError(f"{first.path} is one part of a split in {count}; {', '.join(missing[:4])} must lie beside it")
    return parts
