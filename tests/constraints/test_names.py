"""Names of members: texts read in pieces lead to the states that they lead to byte by byte, and masks agree with checks."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from espalier.constraints import json_schema
from espalier.constraints.vocab_masks import masks
from espalier.text.vocab import Vocab

LETTERS = ["a", "b", "ab", "é", "\\", '"', "\n", "😀", "ba"]


def names(rng: random.Random) -> list[str]:
    return sorted({"".join(rng.choices(LETTERS, k=rng.randint(0, 4))) for _ in range(12)})


PATTERNS = ["^b", "a$", "^[ab]+$", "^(a|b|ba)$", "é", "^a?$", ""]


def schema(rng: random.Random, listed: list[str]) -> dict[str, object]:
    some = listed[: len(listed) // 2]
    found: dict[str, object] = {"type": "object", "properties": {n: {"enum": [*listed, 1]} for n in some}}
    values: list[object] = [True, False, {"type": "integer"}, {"enum": listed}]
    patterns = {p: rng.choice(values) for p in rng.sample(PATTERNS, rng.randint(0, 4))}
    found |= {
        "additionalProperties": rng.choice(values),
        "patternProperties": patterns,
        "required": [] if patterns else some[:1],
    }
    return found if rng.random() < 0.5 else {"properties": {"o": {"type": "array", "items": found, "uniqueItems": True}}}


def document(rng: random.Random, listed: list[str]) -> bytes:
    members = {rng.choice([*listed, "b" + rng.choice(listed)]): rng.choice([1, *listed]) for _ in range(4)}
    text = json.dumps(members, ensure_ascii=rng.random() < 0.5)
    return text.encode() if rng.random() < 0.5 else f'{{"o": [{text}, {text}]}}'.encode()


@pytest.mark.parametrize("seed", range(20))
def test_pieces_lead_to_the_states_of_their_bytes(seed: int) -> None:
    rng = random.Random(seed)
    listed = names(rng)
    guide = json_schema(schema(rng, listed))
    lengths = []
    for _ in range(20):
        text = document(rng, listed)
        state = guide.start()
        begin = 0
        while begin < len(text):
            piece = text[begin : begin + rng.randint(1, 9)]
            by_bytes: int | None = state
            for byte in piece:
                by_bytes = by_bytes if by_bytes is None else guide.advance(by_bytes, bytes([byte]))
            together = guide.advance(state, piece)
            assert together == by_bytes  # states are hash-consed: the very same
            if together is None:
                break
            state, begin = together, begin + len(piece)
        lengths.append(begin)
    assert max(lengths) > 20, "texts that are refused at once show nothing"


@pytest.mark.parametrize("seed", range(24))
def test_masks_within_names_agree_with_checks(seed: int) -> None:
    rng = random.Random(100 + seed)
    listed = names(rng)
    guide = json_schema(schema(rng, listed))
    joined = [f'{rng.choice(["1", "{"])}, "{rng.choice(listed)}": 1, "'.encode() for _ in range(9)] if seed % 2 else []
    pieces = [*joined, b'"', b'":', b'": "', b'"}', b'", "', b"\\u", b"\\u00", b"\\n", b'\\"', b"1", b'a"', b"}"]
    written = [json.dumps(n, ensure_ascii=a).encode() for n in listed for a in (True, False)]
    cut = [w[i:j] for w in written for i, j in [sorted(rng.sample(range(len(w) + 1), 2)) for _ in range(6)]]
    tokens = sorted({*pieces, *cut, *(bytes([b]) for w in [*written, b'{}, :1[]o"'] for b in w)} - {b""})
    vocab = Vocab([*tokens, None], end=[len(tokens)])
    made = masks(guide, vocab)
    buffer = np.zeros(made.words, dtype=np.int32)
    allowed_texts = 0
    for _ in range(4):
        state, path = made.state(), guide.start()
        for byte in document(rng, listed):
            made.fill(state, buffer)
            allowed = {t for i, t in enumerate(tokens) if int(buffer[i >> 5]) >> (i & 31) & 1}
            assert allowed == {t for t in tokens if guide.advance(path, t) is not None}
            allowed_texts += len(allowed)
            if bytes([byte]) not in tokens or bytes([byte]) not in allowed:
                break
            after = guide.advance(path, bytes([byte]))
            assert after is not None
            state, path = made.advance(state, tokens.index(bytes([byte]))), after
    assert allowed_texts > 50
