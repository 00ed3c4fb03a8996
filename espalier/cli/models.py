"""`models`: which models are known, which are cached, how large they are, and in which format they run here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from espalier.errors import LoadError
from espalier.models.load import cache
from espalier.models.load.builtin import BUILTIN, DEFAULT


def _known() -> Iterator[dict[str, Any]]:
    for model in BUILTIN.values():
        folder = cache.complete(model.name)
        origin = {}
        if folder is not None and (path := folder / "espalier.json").exists():
            origin = json.loads(path.read_text("utf-8"))
        yield {
            "name": model.name,
            "summary": model.summary,
            "default": model.name == DEFAULT,
            "licence": model.licence,
            "cached": folder is not None,
            "bytes": cache.size(folder) if folder is not None else None,
            "download_bytes": sum(wheel.size for wheel in model.wheels),
            "source": origin.get("source") or f"{model.hub}, or {model.wheels[0].requirement}",
            "folder": None if folder is None else str(folder),
            "auto": None if folder is None else _format(folder),
        }


def _format(folder: Path) -> dict[str, str] | None:
    """What `dtype="auto"` takes on this machine, and why; None for a folder that cannot be loaded."""
    from espalier.models.load.open import chosen_format

    with suppress(LoadError):
        dtype, why = chosen_format(folder)
        return {"dtype": dtype, "why": why}
    return None


def _in_hub_cache() -> Iterator[dict[str, Any]]:
    """Models that the hub's own cache holds with weights: they load by their id, without a connection."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except (CacheNotFound, ValueError, OSError):
        return
    for repository in sorted(repositories, key=lambda found: str(found.repo_id)):
        files = [file for revision in repository.revisions for file in revision.files]
        if repository.repo_type == "model" and any(str(file.file_name).endswith(".safetensors") for file in files):
            yield {
                "name": repository.repo_id,
                "summary": "from the Hugging Face hub",
                "default": False,
                "licence": None,
                "cached": True,
                "bytes": repository.size_on_disk,
                "download_bytes": None,
                "source": "the local cache of the Hugging Face hub",
                "folder": str(repository.repo_path),
                "auto": None,
            }


def megabytes(count: int | None) -> str:
    """A number of bytes for people.

    >>> megabytes(538_092_792), megabytes(None)
    ('538 MB', '-')
    """
    return "-" if count is None else f"{count / 1e6:,.0f} MB"


def models(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on one line.")] = False) -> None:
    """Shows which models are known by name, which are cached, how large they are, and in which format they run here."""
    known = [*_known(), *_in_hub_cache()]
    if as_json:
        print(json.dumps({"home": str(cache.home()), "models": known}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "what", "licence", "cached", "download", "runs in"):
        number = heading in ("cached", "download")
        table.add_column(heading, justify="right" if number else "left", overflow="fold", no_wrap=heading == "name" or number)
    for model in known:
        cached = megabytes(model["bytes"]) if model["cached"] else "no"
        table.add_row(
            model["name"],
            model["summary"],
            model["licence"] or "-",
            cached,
            megabytes(model["download_bytes"]),
            (model["auto"] or {}).get("dtype", "-"),
        )
    console = Console()
    console.print(table)
    for model in known:
        if model["auto"]:
            console.print(f"\n{model['name']} runs in {model['auto']['dtype']}: {model['auto']['why']}", highlight=False)
    total = sum(model["bytes"] or 0 for model in known)
    console.print(f"\n{megabytes(total)} cached. Built-in models are kept in {cache.home()} ($ESPALIER_HOME).", highlight=False)
    console.print("A folder, a .gguf file or a hub id (org/name) can be given wherever a model is named.", highlight=False)
