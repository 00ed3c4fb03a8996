"""Loading a language model by name: a folder, a GGUF file, a hub id, or a built-in."""

from __future__ import annotations

import difflib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from espalier.errors import InvalidInput, LoadError, expect, require
from espalier.models.executors import native
from espalier.models.families import Config, NotOurs
from espalier.models.load import cache, packed, threads
from espalier.models.load.builtin import BUILTIN, DEFAULT, HUB_FILES, Builtin, fetch, hub_answers
from espalier.models.load.folder import Weights, all_floating, read_folder, read_gguf
from espalier.models.load.progress import progress, say
from espalier.models.load.through_transformers import through_transformers
from espalier.models.load.weight_format import fitting, named
from espalier.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from espalier.lm import LanguageModel
    from espalier.models.executors.tree_as_batch import Paths
    from espalier.models.transformer import Transformer


def _builtin(model: Builtin) -> Path:
    if (done := cache.complete(model.name)) is not None:
        return done
    if model.terms:
        say(model.terms)

    def fill(folder: Path) -> None:
        with progress(model.name) as told:
            fetch(model, folder, told)

    return cache.build(model.name, fill, lambda: say(f"another process is fetching {model.name}; waiting for it"))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = list(HUB_FILES)
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError, OSError):
        pass  # not in the cache
    if not hub_answers():
        raise LoadError(
            f"the Hugging Face hub cannot be reached and {name!r} is not in its local cache; give a folder or a .gguf file, or "
            f"one of the built-in models: {', '.join(BUILTIN)}"
        )
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise LoadError(
            f"the Hugging Face hub does not give {name!r} ({reason}); check the name, and `hf auth login` if it is gated"
        ) from error
    except Exception as error:  # errors of its HTTP library and of the disk
        raise LoadError(f"{name!r} could not be downloaded from the Hugging Face hub: {error}") from error


def locate(name: str | os.PathLike[str] | None = None) -> Path:
    """Where the weights of a model lie, fetched first if they must be: a folder, or a `.gguf` file.

    `name` is a folder or file, a hub id ("org/name"), or a built-in (default "smollm2-135m-instruct"). Raises `LoadError`.
    """
    expect(name, (str, os.PathLike, type(None)), "the name of a model", f"a text or a path, such as {DEFAULT!r}")
    text = DEFAULT if name is None else os.fspath(name)
    if not text.strip():
        raise LoadError(f"the name of a model is empty; write a folder, a .gguf file, a hub id or one of {', '.join(BUILTIN)}")
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # a name that is too long, a home that nobody has
        raise LoadError(f"{text[:80]!r} cannot be the name of a model: {error.args[-1]!s:.80}") from error
    if text.lower() in BUILTIN and not path.exists():
        return _builtin(BUILTIN[text.lower()])
    if path.exists():
        return path
    if text.startswith((".", "/", "~")) or path.suffix in (".gguf", ".safetensors") or text.count("/") > 1:
        raise LoadError(f"there is no file or folder {text!r}")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        for model in BUILTIN.values():
            if model.hub.lower() == text.lower() and cache.complete(model.name) is not None:
                return cache.place(model.name)
        return _from_hub(text)
    close = difflib.get_close_matches(text.lower(), BUILTIN, 1, 0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise LoadError(
        f"no model is called {text!r}; {hint}write one of {', '.join(BUILTIN)}, a folder, a .gguf file or a hub id "
        "like 'org/name'"
    )


def read(name: str | os.PathLike[str] | None = None, lazily: bool = False) -> Weights:
    """The configuration, tensors and tokenizer of a model, found as `locate` does. Raises `LoadError`.

    `lazily` reads the tensors when the first of them is asked for.
    """
    path = locate(name)
    if path.is_dir():
        return read_folder(path, lazily)
    if path.suffix == ".safetensors":
        raise LoadError(f"{path} holds only weights; give the folder that it lies in, with config.json and tokenizer.json")
    return read_gguf(path, lazily)


def _device(device: torch.device | str | None) -> torch.device:
    try:
        chosen = torch.device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
    except RuntimeError as error:
        raise InvalidInput(f"device {device!r} is not known; write 'cpu' or 'cuda'") from error
    if chosen.type not in ("cpu", "cuda"):
        raise InvalidInput(f"device {device!r} cannot be used; write 'cpu' or 'cuda'")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InvalidInput(f"device {device!r}: this installation of torch finds no CUDA device; use 'cpu'")
    return chosen


def load(
    name: str | os.PathLike[str] | None = None,
    dtype: torch.dtype | str | None = "auto",
    device: torch.device | str | None = None,
    context: int | None = None,
    lora: str | os.PathLike[str] | None = None,
    cache_mb: float = 256,
    eager: bool = False,
) -> LanguageModel:
    """The language model `name`, ready to generate: a folder, a `.gguf` file, a hub id or a built-in.

    The default is SmolLM2-135M-Instruct. A built-in is fetched and converted once, into `$ESPALIER_HOME`. `dtype` is float32,
    bfloat16, float16, int8 or int4 (weights only, CPU only); "auto" takes the fastest of them that keeps every bit of the
    checkpoint on this machine, on CUDA bfloat16; `lm.dtype` and `lm.why` say which and why. The number of threads is that
    which was measured to be enough once (ESPALIER_THREADS sets it). `device` is "cpu" or "cuda" (the default if there is
    one). `context` is the longest text, prompt and output together; left out it is what the model's positions and their
    scaling give. `lora` is the folder of an adapter, which is merged into the weights. `cache_mb` bounds the keys and
    values that are kept for requests that begin alike (0 keeps none). `eager` asks for the plain torch executor, which is
    slower and gives attention and gradients too. What ours does not know runs through transformers, where that is installed.

    Raises `LoadError` if the weights cannot be had or read, `InvalidInput` for an impossible dtype or device.

    >>> lm = load("gemma-3-270m", dtype="bfloat16")  # doctest: +SKIP
    """
    from espalier.lm import LanguageModel
    from espalier.models.executors.choose_executor import DTYPES

    place = _device(device)
    kind = "auto" if dtype is None else dtype
    number = DTYPES.get(kind) if isinstance(kind, str) else kind
    if number not in DTYPES.values() and kind != "auto":
        raise InvalidInput(f"dtype {dtype!r} is not known; write auto, float32, bfloat16, float16, int8 or int4")
    if context is not None:
        expect(str(context) if isinstance(context, bool) else context, int, "context", "a number of tokens")
        require(1 < context <= 1 << 30, f"context={context}: a text has at least two tokens")
    weights = read(name, lazily=True)
    if lora is not None:
        from espalier.models.load.lora import merged

        weights = merged(weights, locate(lora))
    title = DEFAULT if name is None else os.fspath(name)
    number, why = (number, "it was asked for") if number is not None else _format(weights, title, place, context, eager)
    model = _model(weights, title, number, place, context, eager)
    tokenizer = weights.tokenizer
    if weights.folder is not None and model.vocab_size != tokenizer.vocab.size:  # a config that leaves out what is the default
        tokenizer = Tokenizer.from_folder(weights.folder, end=weights.ends, size=model.vocab_size)
    lm = LanguageModel(model, tokenizer, title, cache_mb)
    lm.dtype, lm.why = named(number), why
    del weights
    native.trim_memory()
    return lm


def chosen_format(folder: Path) -> tuple[str, str]:
    """In which format `load` would run a folder on this machine's CPU, and why. Raises `LoadError` as `load` does."""
    number, why = _format(read_folder(folder, lazily=True), str(folder), torch.device("cpu"), None, False)
    return named(number), why


def _format(weights: Weights, title: str, device: torch.device, context: int | None, eager: bool) -> tuple[torch.dtype, str]:
    """The format that suits the weights and this machine, and why; looked for once for the same files."""
    from espalier.models.executors.choose_executor import DTYPES

    kernels = False
    if device.type == "cpu" and not eager and "quantization_config" not in weights.config:
        with suppress(NotOurs):  # transformers runs it
            where = title if weights.folder is None else str(weights.folder / "config.json")
            kernels = native.runs(Config.from_hf(weights.config, where, context)) and native.quick()
        if kernels:
            name, why = packed.noted_of(weights, "format", lambda: _said(fitting(weights.tensors, device)))
            return DTYPES[name], why
    return fitting({}, device, kernels)


def _said(found: tuple[torch.dtype, str]) -> list[str]:
    return [named(found[0]), found[1]]


def _model(
    weights: Weights, title: str, dtype: torch.dtype, device: torch.device, context: int | None, eager: bool = False
) -> Transformer | Paths:
    """The model of these weights: by our executor where it knows all that the configuration says, else by transformers."""
    from espalier.models.transformer import Transformer

    where = str(weights.folder / "config.json") if weights.folder is not None else title
    layout, strange = weights.config.get("quantization_config"), None
    if layout is not None and not isinstance(layout, dict):
        raise LoadError(f"{where}: quantization_config is {layout!r:.80}, not an object")
    if layout is None:  # else in a layout that only transformers knows
        try:
            config = Config.from_hf(weights.config, where, context)
        except NotOurs as error:
            if weights.folder is None:
                raise
            strange = error
        else:
            if device.type == "cpu" and native.runs(config) and not eager:
                threads.settle()
                return Transformer(*packed.engine(config, weights, dtype, title))
            tensors = all_floating(weights.tensors, title)
            return Transformer.from_weights(config, tensors, dtype=dtype, device=device, eager=eager)
    if weights.folder is None:
        raise LoadError(f"{title} is stored in a way that only transformers knows; load its Hugging Face folder")
    try:
        return through_transformers(weights.folder, weights.config, weights.stored, dtype, device, context)
    except LoadError as error:
        if strange is None or "model_type" in str(strange):
            raise
        raise LoadError(f"{strange}; and {error}") from error
