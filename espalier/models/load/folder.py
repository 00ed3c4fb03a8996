"""Reading a Hugging Face folder: config.json, safetensors (one file or sharded), tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from espalier.errors import LoadError
from espalier.models.hf_settings import text_settings
from espalier.text.json_files import read_json, refuse_pointer
from espalier.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from espalier.models.load.convert import Checkpoint


@dataclass(frozen=True)
class Weights:
    """A model that was read but not yet built: its Hugging Face configuration, its tensors by their Hugging Face names, its
    tokenizer, and the folder it lies in (None for a GGUF file); `stored` has the tensors under the names of the files, which
    are `sources`."""

    config: dict[str, Any]
    tensors: Mapping[str, torch.Tensor]
    tokenizer: Tokenizer
    folder: Path | None
    stored: Mapping[str, torch.Tensor]
    ends: frozenset[int] = frozenset()
    sources: tuple[Path, ...] = ()

    def forget(self) -> None:
        """Lets go of the tensors; who asks for them again reads the files again."""
        for tensors in (self.tensors, self.stored):
            if isinstance(tensors, Lazily):
                tensors.forget()


class Lazily(Mapping[str, torch.Tensor]):
    """Tensors by name, read when the first of them is asked for."""

    def __init__(self, read: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        self._read = read
        self._found: Mapping[str, torch.Tensor] | None = None

    def _all(self) -> Mapping[str, torch.Tensor]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def forget(self) -> None:
        """Lets go of them."""
        self._found = None

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Expanding(Mapping[str, torch.Tensor]):
    """The tensors of a GGUF file by name, expanded whenever they are asked for, and not kept: a whole model in floats takes
    many times the file. Raises `LoadError` where a weight is no number."""

    def __init__(self, checkpoint: Checkpoint, path: Path) -> None:
        self._checkpoint, self._path = checkpoint, path
        self._names = {target: name for name, target in checkpoint.names.items() if target is not None}

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._checkpoint.tensor(self._names[name])
        if not _all_numbers(tensor):
            raise LoadError(
                f"{self._path}: the tensor {name} has weights that are not numbers (NaN or infinite); download it again"
            )
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _shards(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = _named_shards(index)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing or not names:
            raise LoadError(f"{folder} lacks {', '.join(missing) or 'all shards'}, named in {index.name}; download it again")
        return [folder / name for name in names]
    if (single := folder / "model.safetensors").exists():
        return [single]
    if found := sorted(folder.glob("*.safetensors")):
        return found
    if any(folder.glob("*.bin")):
        raise LoadError(
            f"{folder} holds weights only as *.bin (pickle, which can run code when opened); convert it once with "
            "transformers: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, safe_serialization=True)"
        )
    raise LoadError(f"{folder} holds no weights (*.safetensors)")


def _named_shards(index: Path) -> list[str]:
    """The files that a shard index names, all of them in its own folder."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict):
        raise LoadError(f"{index}: weight_map is {named!r:.80}, not an object that says in which file each tensor is")
    for tensor, name in named.items():
        if not isinstance(name, str):
            raise LoadError(f"{index}: weight_map says {name!r:.80} for {tensor}, not the name of a file")
        if (
            len(name) > 255
            or not name.isprintable()
            or "\\" in name
            or name.startswith(("/", "~"))
            or {"..", "", "."} & set(name.split("/"))
        ):
            raise LoadError(f"{index}: weight_map says {name!r:.200} for {tensor}: a shard lies in the folder of its index")
    return sorted(set(named.values()))


def _text_part(name: str) -> str | None:
    """The name of a tensor in a text-only model; None for the parts of a multimodal one that see or hear."""
    if name.startswith(("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")):
        return None
    for prefix, plain in (("language_model.model.", "model."), ("language_model.", ""), ("model.language_model.", "model.")):
        if name.startswith(prefix):
            return plain + name.removeprefix(prefix)
    return name


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder by name, mapped from disk (a page is read when it is first used)."""
    tensors: dict[str, torch.Tensor] = {}
    for shard in _shards(folder):
        tensors |= read_shard(shard)
    return tensors


def read_shard(shard: Path) -> dict[str, torch.Tensor]:
    """All tensors of one safetensors file. Raises `LoadError` if it is damaged, or a weight is no number."""
    tensors: dict[str, torch.Tensor] = {}
    if not shard.is_file():
        raise LoadError(f"{shard} is not a file, or leads to none")
    try:
        with shard.open("rb") as begin:
            refuse_pointer(shard, begin.read(64))
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                tensors[name] = file.get_tensor(name)
    except LoadError:
        raise
    except Exception as error:  # its own errors, the disk's, and torch's for shapes and dtypes that no tensor can have
        raise LoadError(f"{shard} is truncated or damaged ({error}); delete it and fetch it again") from error
    for name, tensor in tensors.items():
        if not _all_numbers(tensor):
            raise LoadError(f"{shard}: the tensor {name} has weights that are not numbers (NaN or infinite); fetch it again")
    return tensors


def _all_numbers(tensor: torch.Tensor) -> bool:
    """Whether no weight is NaN or infinite: by their sum, which is quick; one by one where that overflows."""
    if not tensor.is_floating_point() or tensor.dtype.itemsize == 1 or not tensor.numel():
        return True
    total = tensor.sum(dtype=None if tensor.dtype == torch.float64 else torch.float32)
    return bool(total.isfinite()) or bool(tensor.isfinite().all())


def text_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of the part of a model that reads and writes text, by their names in a model that is nothing else."""
    plain = {_text_part(name): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in plain.items() if name is not None}


def end_tokens(*configs: Mapping[str, Any], where: str = "config.json") -> set[int]:
    """The end tokens that these configurations name (`eos_token_id`, a number or a list). Raises `LoadError`."""
    found: set[int] = set()
    for config in configs:
        value = config.get("eos_token_id")
        listed = value if isinstance(value, list) else [] if value is None else [value]
        for id in listed:
            if not isinstance(id, int) or isinstance(id, bool):
                raise LoadError(f"{where}: eos_token_id is {value!r:.80}, not the number of a token or a list of them")
        found |= set(listed)
    return found


def all_floating(tensors: Mapping[str, torch.Tensor], title: str) -> Mapping[str, torch.Tensor]:
    """The same tensors. Raises `LoadError` where weights are integers: nothing says how they are scaled."""
    if isinstance(tensors, Expanding):  # their types were read with the file's header
        return tensors
    if whole := [name for name, tensor in tensors.items() if name.endswith(".weight") and not tensor.is_floating_point()]:
        raise LoadError(f"{title} stores {whole[0]} as integers but does not say how they are scaled (quantization_config)")
    return tensors


def read_folder(folder: Path, lazily: bool = False) -> Weights:
    """The model in a Hugging Face folder. Raises `LoadError` for what is missing, truncated or damaged.

    `lazily` reads the tensors, and looks whether they are numbers, when the first of them is asked for.
    """
    if not (folder / "config.json").exists() and (folder / "adapter_config.json").exists():
        raise LoadError(
            f"{folder} holds an adapter (LoRA), which changes another model: load that one with it, es.load(base, lora=folder)"
        )
    config = read_json(folder / "config.json")
    ends = end_tokens(config, text := text_settings(config, str(folder / "config.json")), where=str(folder / "config.json"))
    if "quantization_config" in text:  # said inside, it is said of the whole
        config = {"quantization_config": text["quantization_config"], **config}
    if (path := folder / "generation_config.json").exists():
        ends |= end_tokens(read_json(path), where=str(path))
    if not (folder / "tokenizer.json").exists():
        raise LoadError(
            f"{folder} has no tokenizer.json; write it once with transformers: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    sources = _shards(folder)
    stored = Lazily(lambda: read_tensors(folder))
    tensors = Lazily(lambda: text_tensors(stored))
    if not lazily:
        len(tensors)
    tokenizer = Tokenizer.from_folder(folder, end=ends, size=_rows(text, config, tensors, folder))
    return Weights(config, tensors, tokenizer, folder, stored, frozenset(ends), tuple(sources))


def _rows(text: Mapping[str, Any], config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], folder: Path) -> int:
    """The width of the model's rows: what the configuration says, else how many embeddings there are, else 0 (not known)."""
    width = text.get("vocab_size", config.get("vocab_size"))
    if width is None:
        found = next((t for name, t in tensors.items() if name.endswith("embed_tokens.weight")), None)
        return 0 if found is None or found.dim() != 2 else len(found)
    if not isinstance(width, int) or isinstance(width, bool) or not 0 < width <= 1 << 24:
        raise LoadError(f"{folder / 'config.json'}: vocab_size is {width!r:.80}, not a number of tokens")
    return width


def read_gguf(path: Path, lazily: bool = False) -> Weights:
    """The model in a GGUF file; a tokenizer.json beside the file is preferred to the one inside.

    `lazily` expands a tensor when it is asked for.
    """
    from espalier.models.load.convert import Checkpoint  # only here: the gguf package takes a while to import

    checkpoint = Checkpoint(path)
    width = int(checkpoint.config["vocab_size"])
    ends = end_tokens(checkpoint.config, where=str(path)) | checkpoint.ends
    if (path.parent / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_folder(path.parent, end=ends, size=width)
    else:
        tokenizer = Tokenizer(checkpoint.backend, checkpoint.settings, end=ends, size=width)
    expanding = Expanding(checkpoint, path)
    tensors = expanding if lazily else dict(expanding)
    sources = tuple(file.path for file in checkpoint.file.files)
    return Weights(checkpoint.config, tensors, tokenizer, None, tensors, frozenset(ends), sources)
