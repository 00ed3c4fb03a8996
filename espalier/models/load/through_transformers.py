"""A model folder run by transformers' own code for its family, from tensors that we read: no file is opened by transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from espalier.errors import EspalierError, InvalidInput, LoadError

if TYPE_CHECKING:
    from espalier.models.executors.tree_as_batch import Paths
    from espalier.models.transformer import Transformer

__all__ = ["through_transformers"]

# What a configuration could use to name code or files of its own; none of it says anything about the arithmetic.
_REACHING = (
    "auto_map",
    "custom_generate",
    "custom_pipelines",
    "transformers_weights",
    "fusion_config",
    "kernel_config",
    "use_kernels",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "experts_implementation",
    "_name_or_path",
    "base_model_name_or_path",
)


def through_transformers(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
    context: int | None = None,
) -> Transformer | Paths:
    """The model in a folder, of a family that our executor does not know, run by transformers' code for that family.

    One whose state cannot follow a tree of prefixes (recurrent layers) is run path by path. Guarantee: no code of the folder
    runs, nobody is asked anything, no file is read but those that were read already, and no weight is made up: a tensor that
    is missing or misshapen is a `LoadError`.
    """
    try:
        from transformers import GenerationConfig
    except ImportError as error:
        raise LoadError(f"{folder} is of a family that runs through transformers: pip install 'espalier[hf]'") from error
    from espalier.models.executors.transformers import from_transformers
    from espalier.models.executors.tree_as_batch import Paths

    if dtype in (torch.int8, torch.quint4x2):
        raise InvalidInput("int8 and int4 are for the families of our own executor; choose float32, bfloat16 or float16")
    family, settings = _family(folder, config)
    try:
        with _quiet():
            model, info = family.from_pretrained(
                None,
                config=settings,
                state_dict=dict(tensors),
                generation_config=GenerationConfig(),
                dtype=dtype,
                attn_implementation="eager",
                trust_remote_code=False,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # they are told by name below
                output_loading_info=True,
            )
        model = model.to(device)
    except Exception as error:  # its validators, its quantisers, torch: whatever it is, the folder cannot be run
        raise LoadError(f"transformers cannot load {folder}{_stored_as(config)}: {_first_line(error)}") from error
    if _stored_as(config) and getattr(model, "hf_quantizer", None) is None:
        raise LoadError(f"transformers cannot load {folder}{_stored_as(config)}: it does not know how to read them")
    _complete(folder, info)
    made: Transformer | Paths
    try:
        made = from_transformers(model)
    except Exception:  # attention that does not go through transformers' registry, in whatever way it fails then
        try:
            made = Paths.of(model)
        except EspalierError:
            raise
        except Exception as error:
            raise LoadError(f"transformers' model for {folder} does not run: {_first_line(error)}") from error
    made.context = _context(made.context, settings, context)
    if not isinstance(made, Paths):
        sizes: Any = made.config
        made.config, made.kv.context = replace(sizes, context=made.context), made.context
    return made


def _context(trained: int, settings: Any, asked: int | None) -> int:
    """The longest text: what the positions give, as far as the rotary embedding stays the same whatever the length."""
    rope = getattr(settings.get_text_config(), "rope_parameters", None) or {}
    ropes = [rope] if "rope_type" in rope else [value for value in rope.values() if isinstance(value, dict)]
    limit = trained
    for one in ropes:
        original = one.get("original_max_position_embeddings") or trained
        if one.get("rope_type") == "longrope":  # beyond, all frequencies change, those of what was read before too
            limit = min(limit, original)
        elif one.get("rope_type") == "yarn" or (one.get("rope_type") == "linear" and "gemma" not in settings.model_type):
            limit = max(limit, int(one.get("factor", 1.0) * original))
    if asked is not None and asked > limit:
        raise LoadError(f"context={asked}: through transformers this model reads at most {limit} tokens")
    return limit if asked is None else asked


@contextmanager
def _quiet() -> Iterator[None]:
    """While it lasts transformers shows no bars and no report of what it loaded: `_complete` reads the report."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _stored_as(config: Mapping[str, Any]) -> str:
    """How the weights are quantised, for a person who must fetch what reads them."""
    layout = config.get("quantization_config")
    method = layout.get("quant_method") if isinstance(layout, Mapping) else None
    return "" if method is None else f" (its weights are stored by {method!r:.80}: quantization_config)"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _family(folder: Path, config: Mapping[str, Any]) -> tuple[Any, Any]:
    """transformers' class of the model and its configuration, without anything that names code or files."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    family = config.get("model_type")
    if not isinstance(family, str) or family not in CONFIG_MAPPING:
        if "auto_map" in config:
            raise LoadError(
                f"{folder / 'config.json'}: the model needs code of its own (auto_map, model_type {family!r}), and code that "
                "lies in a model folder is never run here; load a model whose family transformers knows itself"
            )
        raise LoadError(
            f"{folder / 'config.json'}: model_type {family!r} is known neither here nor to the transformers that is installed"
        )
    try:
        settings = CONFIG_MAPPING[family].from_dict(_harmless(config))
    except Exception as error:
        raise LoadError(f"{folder / 'config.json'} is not a configuration of {family!r}: {_first_line(error)}") from error
    if type(settings) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise LoadError(
            f"{folder / 'config.json'}: transformers has no causal language model of the family {family!r}; models that go on "
            "with a text can be loaded"
        )
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(settings)]
    text = settings.get_text_config()
    if text is not settings and getattr(model, "config_class", None) is type(text):  # only the part that reads and writes text
        if (layout := getattr(settings, "quantization_config", None)) is not None:
            text.quantization_config = layout
        settings = text
    return model, settings


def _harmless(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"__float__"} and value["__float__"] in ("Infinity", "-Infinity", "NaN"):
            return float(value["__float__"])  # as transformers writes numbers that JSON has not
        return {name: _harmless(inner) for name, inner in value.items() if name not in _REACHING}
    return [_harmless(inner) for inner in value] if isinstance(value, list) else value


def _complete(folder: Path, info: Mapping[str, Any]) -> None:
    """Refuses a model that transformers filled with random numbers where the files had none that fit."""
    wrong = sorted(str(name[0] if isinstance(name, tuple) else name) for name in info.get("mismatched_keys", ()))
    if wrong:
        raise LoadError(f"{folder}: {len(wrong)} tensors have another shape than config.json says: {', '.join(wrong[:4])}")
    if missing := sorted(map(str, info.get("missing_keys", ()))):
        raise LoadError(
            f"{folder}: {len(missing)} tensors of the model are missing from its files: {', '.join(missing[:4])}; the weights "
            "do not belong to this config.json, or a part of them was not fetched"
        )
    if broken := info.get("error_msgs"):
        raise LoadError(f"{folder}: its tensors cannot be used: {str(next(iter(broken))).splitlines()[0]}")
