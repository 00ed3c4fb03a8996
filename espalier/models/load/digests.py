"""Digests of the files of a cached model: what was written, so that half of it, or something else, is never taken for it."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

__all__ = ["NAME", "whole", "write_digests"]

NAME = "digests.json"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_digests(folder: Path) -> None:
    """Notes the size, the digest and the time of every file of a folder, in `digests.json` beside them."""
    noted: dict[str, dict[str, Any]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME):
        stat = path.stat()
        name = path.relative_to(folder).as_posix()
        noted[name] = {"bytes": stat.st_size, "sha256": digest(path), "written": stat.st_mtime_ns}
    (folder / NAME).write_text(json.dumps(noted, indent=2) + "\n", "utf-8")


def whole(folder: Path, thorough: bool = False) -> bool:
    """Whether every file that was noted is there as it was written; `thorough` reads all of them.

    Otherwise only the sizes are looked at, and the digests of files that were written again since. A folder without notes
    (made before there were any) is whole if it has a configuration and its weights do not break off.
    """
    try:
        if not (folder / "config.json").is_file():
            return False
        if not (folder / NAME).exists():
            weights = list(folder.glob("*.safetensors"))
            return bool(weights) and all(_reaches_its_end(path) for path in weights)
        noted = json.loads((folder / NAME).read_text("utf-8"))
        return bool(noted) and all(_as_noted(folder / name, entry, thorough) for name, entry in noted.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return False


def _as_noted(path: Path, entry: dict[str, Any], thorough: bool) -> bool:
    stat = path.stat()
    if stat.st_size != entry["bytes"]:
        return False
    untouched = stat.st_mtime_ns == entry["written"] and not thorough
    return untouched or digest(path) == entry["sha256"]


def _reaches_its_end(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(path.stat().st_size, 1 << 28):
            return False
        header = json.loads(file.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return path.stat().st_size == 8 + int(length) + int(max(ends, default=0))
