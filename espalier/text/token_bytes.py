"""What each token of a tokenizer writes, in bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from itertools import accumulate

import tokenizers

from espalier.errors import LoadError

__all__ = ["byte_of_character", "pieces_to_bytes"]


@cache
def byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level BPE spells: printable ones spell themselves, the others are shifted by 256.

    Reference: A. Radford et al., 2019, "Language Models are Unsupervised Multitask Learners".

    >>> byte_of_character()["\u0120"] == ord(" ") and len(byte_of_character())
    256
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(shifted)}


def pieces_to_bytes(
    backend: tokenizers.Tokenizer, pieces: Mapping[str, int], size: int
) -> tuple[list[bytes | None], dict[int, str]]:
    """What every id below `size` writes in bytes, and the names of those that write nothing.

    Raises `LoadError` for a tokenizer whose tokens have no fixed bytes.
    """
    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder is not None else {}
    steps = decoder.get("decoders", [decoder])
    kinds = {step.get("type") for step in steps}
    byte_level, fallback = "ByteLevel" in kinds, "ByteFallback" in kinds
    spaces = [(s["pattern"].get("String"), s["content"]) for s in steps if s.get("type") == "Replace"]
    spaces = [(old, new) for old, new in spaces if old]
    spaces += [(s.get("replacement", "▁"), " ") for s in steps if s.get("type") == "Metaspace"]
    if not byte_level and not spaces:
        raise LoadError(
            f"the tokenizer has a decoder of kind {sorted(map(str, kinds))}, whose tokens have no fixed bytes; byte-level and "
            "sentencepiece tokenizers can be used"
        )
    added = backend.get_added_tokens_decoder()
    tokens: list[bytes | None] = [None] * size
    names: dict[int, str] = {}
    spelled: list[tuple[int, str]] = []  # in the alphabet of byte-level BPE
    for piece, id in pieces.items():
        if id >= size:
            continue
        if id in added and added[id].special:
            names[id] = piece
        elif byte_level and id not in added:
            spelled.append((id, piece))
        elif byte_level:
            tokens[id] = piece.encode()
        elif fallback and (byte := _byte_piece(piece)) is not None:
            tokens[id] = bytes([byte])
        else:
            for old, new in spaces:
                piece = piece.replace(old, new)
            tokens[id] = piece.encode()
    for (id, _), token in zip(spelled, _spelled([piece for _, piece in spelled]), strict=True):
        tokens[id] = token
    return tokens, names


def _spelled(pieces: list[str]) -> list[bytes]:
    """The bytes that pieces of byte-level BPE spell; those of the text itself where one has a character of no byte.

    All of them are read at once: each character is one byte, so their lengths say which bytes belong to which.
    """
    try:
        spelled = "".join(pieces).translate(_bytes_as_latin()).encode("latin-1")
    except UnicodeEncodeError:
        return [pieces[0].encode()] if len(pieces) == 1 else [token for piece in pieces for token in _spelled([piece])]
    ends = list(accumulate(map(len, pieces)))
    return [spelled[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@cache
def _bytes_as_latin() -> dict[int, str]:
    foreign = {chr(code): "\uffff" for code in range(256)}  # may not stand for themselves
    return str.maketrans({**foreign, **{character: chr(byte) for character, byte in byte_of_character().items()}})


def _byte_piece(piece: str) -> int | None:
    """The byte that a piece such as `<0x0A>` stands for."""
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        try:
            return int(piece[3:5], 16)
        except ValueError:
            return None
    return None
