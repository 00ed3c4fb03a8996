"""A tokenizer from GGUF metadata: the pieces, merges and scores of the file, arranged as the original tokenizer was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE

from espalier.errors import LoadError
from espalier.text.gguf_splits import split

# Names of tokens that end a text in llama.cpp, whatever the file says of them.
ENDS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def _byte_level(metadata: Mapping[str, Any], pieces: Sequence[str], where: str) -> Tokenizer:
    way = split(metadata.get("tokenizer.ggml.pre", "default"))
    merges = []
    for merge in _listed(metadata, "tokenizer.ggml.merges", str, where) or []:
        left, _, right = merge.partition(" ")
        if not left or not right:
            raise LoadError(f"{where}: tokenizer.ggml.merges has {merge!r:.80}, which is not two pieces")
        merges.append((left, right))
    vocab = {piece: id for id, piece in enumerate(pieces)}
    backend = Tokenizer(BPE(vocab=vocab, merges=merges, ignore_merges=way.whole_words))
    backend.pre_tokenizer = way.pre_tokenizer()
    backend.decoder = decoders.ByteLevel()
    if (normalizer := way.normalizer()) is not None:
        backend.normalizer = normalizer
    return backend


def _listed(metadata: Mapping[str, Any], key: str, kind: type[Any], where: str, length: int | None = None) -> list[Any] | None:
    """The list under a key, if there is one, every entry of this kind. Raises `LoadError` that names the key."""
    value = metadata.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise LoadError(f"{where}: {key} is {value!r:.80}, not a list of {'' if length is None else length} entries")
    kinds: tuple[type[Any], ...] = (int, float) if kind is float else (kind,)
    entry: Any
    for entry in value:
        if not isinstance(entry, kinds) or isinstance(entry, bool) or (kind is float and not math.isfinite(entry)):
            raise LoadError(f"{where}: {key} has {entry!r:.80} among its entries")
    return value


def merges_from_scores(pieces: Sequence[str], scores: Sequence[float], user: set[int]) -> list[tuple[str, str]]:
    """The merge list that lets BPE do what sentencepiece does: join the adjacent pair whose union scores best.

    Every split of a piece into two pieces is a merge, ranked by the score of the whole; user-defined pieces rank first.
    Reference: T. Kudo and J. Richardson, 2018, "SentencePiece" (arXiv:1808.06226).

    >>> merges_from_scores(["a", "b", "ab", "aba"], [0, 0, -1, -2], set())
    [('a', 'b'), ('ab', 'a')]
    """
    ids = {piece: id for id, piece in enumerate(pieces)}
    ranked: list[tuple[float, int, int, int]] = []
    for id, piece in enumerate(pieces):
        rank = 0.0 if id in user else -scores[id]
        for cut in range(1, len(piece)):
            left = ids.get(piece[:cut])
            if left is not None and (right := ids.get(piece[cut:])) is not None:
                ranked.append((rank, id, left, right))
    ranked.sort()
    return [(pieces[left], pieces[right]) for _, _, left, right in ranked]


def _sentencepiece(metadata: Mapping[str, Any], pieces: Sequence[str], kinds: Sequence[int], where: str) -> Tokenizer:
    scores = _listed(metadata, "tokenizer.ggml.scores", float, where, len(pieces))
    if scores is None:
        raise LoadError(f"{where} has a sentencepiece vocabulary without one score per token (tokenizer.ggml.scores)")
    user = {id for id, kind in enumerate(kinds) if kind == USER_DEFINED}
    silent = {CONTROL, BYTE, UNKNOWN, UNUSED}
    mergeable = ["" if kind in silent else piece for piece, kind in zip(pieces, kinds, strict=True)]
    unknown = _id(metadata, "tokenizer.ggml.unknown_token_id", pieces, where)
    backend = Tokenizer(
        BPE(
            vocab={piece: id for id, piece in enumerate(pieces)},
            merges=merges_from_scores(mergeable, scores, user),
            unk_token=None if unknown is None else pieces[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if _flag(metadata, "tokenizer.ggml.add_space_prefix", True, where):
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        steps.append(decoders.Strip(content=" ", left=1))
    else:
        backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(steps)
    return backend


def _flag(metadata: Mapping[str, Any], key: str, default: bool, where: str) -> bool:
    value = metadata.get(key, default)
    if not isinstance(value, bool):
        raise LoadError(f"{where}: {key} is {value!r:.80}, not true or false")
    return value


def _id(metadata: Mapping[str, Any], key: str, pieces: Sequence[str], where: str) -> int | None:
    """The id of a token under a key; None where there is none, or none of these pieces."""
    value = metadata.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise LoadError(f"{where}: {key} is {value!r:.80}, not the number of a token")
    return value if value is not None and 0 <= value < len(pieces) else None


def tokenizer_from_gguf(metadata: Mapping[str, Any], where: str = "the GGUF file") -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer that the metadata of a GGUF file describes, and its settings with the keys of `tokenizer_config.json`.

    Guarantee: byte-level BPE (`gpt2`) and sentencepiece BPE (`llama`: Llama 1 and 2, Mistral, Gemma) give the tokens of the
    original tokenizer wherever the file names its way of splitting; a way that is not known is a `LoadError`, never a guess.
    """
    model = metadata.get("tokenizer.ggml.model")
    found = _listed(metadata, "tokenizer.ggml.tokens", str, where)
    if not found:
        raise LoadError(f"{where} holds no vocabulary (tokenizer.ggml.tokens); load the model's folder instead")
    pieces = _distinct(found)
    kinds = _listed(metadata, "tokenizer.ggml.token_type", int, where, len(pieces)) or [NORMAL] * len(pieces)
    if model == "gpt2":
        backend = _byte_level(metadata, pieces, where)
    elif model == "llama":
        # llama.cpp writes user-defined runs of spaces as spaces; the pieces of the original spell a space as U+2581.
        pieces = [p.replace(" ", "▁") if k == USER_DEFINED else p for p, k in zip(pieces, kinds, strict=True)]
        backend = _sentencepiece(metadata, pieces, kinds, where)
    else:
        raise LoadError(
            f"{where} has a tokenizer of kind {model!r:.80} (tokenizer.ggml.model); byte-level BPE ('gpt2') and sentencepiece "
            "BPE ('llama') can be read. Put the model's own tokenizer.json beside the file"
        )
    backend.add_tokens(
        [
            AddedToken(piece, normalized=False, special=kind in (CONTROL, UNKNOWN))
            for piece, kind in zip(pieces, kinds, strict=True)
            if kind in (CONTROL, USER_DEFINED) or (kind == UNKNOWN and model == "llama")
        ]
    )
    return backend, _settings(metadata, pieces, backend, where)


def _distinct(pieces: Sequence[str]) -> list[str]:
    """The pieces, where an empty one or one that stood before (padding that was never named) has a name of its own."""
    seen: set[str] = set()
    named = []
    for id, piece in enumerate(pieces):
        name = piece if piece and piece not in seen else f"[PAD{id}]"
        seen.add(name)
        named.append(name)
    return named


def end_ids(metadata: Mapping[str, Any], backend: Tokenizer) -> set[int]:
    """The tokens that end a text by their names, as llama.cpp knows them."""
    special = {token.content: id for id, token in backend.get_added_tokens_decoder().items()}
    found = {special[name] for name in ENDS if name in special}
    if {"<|return|>", "<|call|>", "<|end|>"} <= special.keys():  # there <|end|> ends a message, not the answer
        found.discard(special["<|end|>"])
    return found


def _settings(metadata: Mapping[str, Any], pieces: Sequence[str], backend: Tokenizer, where: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        if (id := _id(metadata, f"tokenizer.ggml.{key}_token_id", pieces, where)) is not None:
            settings[f"{name}_token"] = pieces[id]
    # Sentencepiece files leave the flag out and mean yes; of byte-level ones it depends on the way of splitting.
    if metadata.get("tokenizer.ggml.model") == "llama":
        implied = True
    else:
        implied = split(metadata.get("tokenizer.ggml.pre", "default")).begins
    begins, ends = "bos_token" in settings, "eos_token" in settings
    begins &= _flag(metadata, "tokenizer.ggml.add_bos_token", implied, where)
    ends &= _flag(metadata, "tokenizer.ggml.add_eos_token", False, where)
    if begins or ends:
        bos, eos = settings.get("bos_token", ""), settings.get("eos_token", "")
        single = [*([bos] if begins else []), "$A", *([eos] if ends else [])]
        ids = {bos: metadata["tokenizer.ggml.bos_token_id"]} if begins else {}
        ids |= {eos: metadata["tokenizer.ggml.eos_token_id"]} if ends else {}
        pair = [*single, *(part.replace("$A", "$B") for part in single)]
        backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(ids.items()))
    if templates := _templates(metadata, where):
        settings["chat_template"] = templates
    return settings


def _templates(metadata: Mapping[str, Any], where: str) -> dict[str, str]:
    """The chat templates by name: `tokenizer.chat_template`, and those with a name behind it."""
    found: dict[str, str] = {}
    for key, value in metadata.items():
        name = "default" if key == "tokenizer.chat_template" else key.removeprefix("tokenizer.chat_template.")
        if name != key:
            if not isinstance(value, str):
                raise LoadError(f"{where}: {key} is {value!r:.80}, not a text")
            if value:
                found[name] = value
    return found
