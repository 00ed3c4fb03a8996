"""A tokenizer from GGUF metadata: the pieces, merges and scores of the file, arranged as the original tokenizer was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from espalier.errors import LoadError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _by_regex(pattern: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(pattern), "isolated", invert=False)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _pre_tokenizer(pre: str) -> tuple[pre_tokenizers.PreTokenizer, bool, normalizers.Normalizer | None]:
    """How `tokenizer.ggml.pre` splits text before merging, whether whole words skip the merges, and the normalizer."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre in ("default", "gpt-2", "gpt2"):
        return gpt2, False, None
    if pre == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2]), False, None
    if pre in ("llama-bpe", "llama3", "llama-v3", "smaug-bpe"):
        return _by_regex(_LLAMA3), True, None
    if pre in ("qwen2", "deepseek-r1-qwen"):
        return _by_regex(_QWEN2), False, normalizers.NFC()
    if pre == "tekken":
        return _by_regex(_TEKKEN), True, None
    raise LoadError(
        f"this GGUF file splits text in the way called {pre!r} (tokenizer.ggml.pre), which is not known here; put the "
        "model's own tokenizer.json beside the file, or load its Hugging Face folder"
    )


def _byte_level(metadata: Mapping[str, Any], pieces: Sequence[str]) -> Tokenizer:
    pre, ignore_merges, normalizer = _pre_tokenizer(metadata.get("tokenizer.ggml.pre", "default"))
    merges = [tuple(merge.split(" ", 1)) for merge in metadata.get("tokenizer.ggml.merges", [])]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    backend = Tokenizer(BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    backend.pre_tokenizer = pre
    backend.decoder = decoders.ByteLevel()
    if normalizer is not None:
        backend.normalizer = normalizer
    return backend


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


def _sentencepiece(metadata: Mapping[str, Any], pieces: Sequence[str], kinds: Sequence[int]) -> Tokenizer:
    scores = metadata.get("tokenizer.ggml.scores")
    if scores is None or len(scores) != len(pieces):
        raise LoadError("this GGUF file has a sentencepiece vocabulary without one score per token; it is damaged")
    user = {id for id, kind in enumerate(kinds) if kind == USER_DEFINED}
    silent = {CONTROL, BYTE, UNKNOWN, UNUSED}
    mergeable = ["" if kind in silent else piece for piece, kind in zip(pieces, kinds, strict=True)]
    unknown = metadata.get("tokenizer.ggml.unknown_token_id")
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
    if metadata.get("tokenizer.ggml.add_space_prefix", True):
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        steps.append(decoders.Strip(content=" ", left=1))
    else:
        backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(steps)
    return backend


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer that the metadata of a GGUF file describes, and its settings with the keys of `tokenizer_config.json`.

    Guarantee: byte-level BPE (`gpt2`) and sentencepiece BPE (`llama`: Llama 1 and 2, Mistral, Gemma) give the tokens of the
    original tokenizer wherever the file names its way of splitting; a way that is not known is a `LoadError`, never a guess.
    """
    model, pieces = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.tokens")
    if not isinstance(pieces, list) or not pieces:
        raise LoadError("this GGUF file holds no vocabulary (tokenizer.ggml.tokens); load the model's folder instead")
    kinds = metadata.get("tokenizer.ggml.token_type") or [NORMAL] * len(pieces)
    if model == "gpt2":
        backend = _byte_level(metadata, pieces)
    elif model == "llama":
        # llama.cpp writes user-defined runs of spaces as spaces; the pieces of the original spell a space as U+2581.
        pieces = [p.replace(" ", "▁") if k == USER_DEFINED else p for p, k in zip(pieces, kinds, strict=True)]
        backend = _sentencepiece(metadata, pieces, kinds)
    else:
        raise LoadError(
            f"this GGUF file has a tokenizer of kind {model!r}; byte-level BPE ('gpt2') and sentencepiece BPE ('llama') can "
            "be read. Put the model's own tokenizer.json beside the file"
        )
    backend.add_tokens(
        [
            AddedToken(piece, normalized=False, special=kind in (CONTROL, UNKNOWN))
            for piece, kind in zip(pieces, kinds, strict=True)
            if kind in (CONTROL, USER_DEFINED) or (kind == UNKNOWN and model == "llama")
        ]
    )
    return backend, _settings(metadata, pieces, backend)


def _settings(metadata: Mapping[str, Any], pieces: Sequence[str], backend: Tokenizer) -> dict[str, Any]:
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(id, int) and 0 <= id < len(pieces):
            settings[f"{name}_token"] = pieces[id]
    # Llama-2-like files leave the flag out and mean yes, byte-level ones leave it out and mean no.
    implied = metadata.get("tokenizer.ggml.model") == "llama"
    if metadata.get("tokenizer.ggml.add_bos_token", implied) and "bos_token" in settings:
        bos = settings["bos_token"]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, metadata["tokenizer.ggml.bos_token_id"])],
        )
    if template := metadata.get("tokenizer.chat_template"):
        settings["chat_template"] = template
    return settings
