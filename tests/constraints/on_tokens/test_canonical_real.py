"""Canonical tokenization on real tokenizers, with a pretokenizer (SmolLM2) and without (Gemma 3), and on random small BPEs."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

import espalier as es
from espalier.constraints import canonical
from espalier.models.load.open import locate
from espalier.text.tokenizer import Tokenizer

PIECES = [
    "a",
    "the",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    " \n",
    "'",
    "'s",
    "'ll",
    '"',
    "1",
    "12",
    "é",
    "ü",
    "你好",
    "🙂",
    "\r\n",
    "...",
]
PIECES += [
    "👩‍👩‍👧",
    "--",
    "o\u0308",
    "ß",
    "I",
    "ing",
    "\u00a0",
    "\u2003",
    "_",
    "{",
    "}",
    "ﬁ",
    "한국",
    "ا",
    "<bos>",
    "Moon",
    "x=1",
]
SOURCE = Path(__file__).read_text("utf-8")


def some_text(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return "".join(rng.choices(PIECES, k=rng.randrange(1, 12)))
    at = rng.randrange(len(SOURCE) - 80)
    return SOURCE[at : at + rng.randrange(1, 60)]


def spelled(text: bytes, ids: dict[bytes, int], rng: random.Random) -> list[int]:
    """Some tokens that write the text."""
    tokens, at = [], 0
    while at < len(text):
        lengths = [n for n in range(1, min(12, len(text) - at) + 1) if text[at : at + n] in ids]
        n = rng.choice(lengths) if rng.random() < 0.5 else max(lengths)
        tokens.append(ids[text[at : at + n]])
        at += n
    return tokens


def followed(law, tokens: list[int]) -> object:
    state = law.start()
    for token in tokens:
        state = law.advance(state, token) if state is not None else None
    return state


@pytest.mark.real
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma-3-270m"])
def test_a_text_s_own_tokens_are_accepted_and_no_others(name: str) -> None:
    try:
        tokenizer = Tokenizer.from_folder(locate(name))
    except es.errors.LoadError as error:
        pytest.skip(str(error)[:100])
    vocab, rng = tokenizer.vocab, random.Random(0)
    law, end = canonical(vocab), min(vocab.end)
    ids = {piece: id for id in reversed(range(vocab.size)) if (piece := vocab[id])}
    others = 0
    for _ in range(1500):
        text = some_text(rng)
        own = list(tokenizer.encode(text))
        state = followed(law, own)
        assert state is not None, f"a beginning of the tokens of {text!r} is refused"
        assert law.advance(state, end) is not None
        other = spelled(text.encode(), ids, rng)
        if other != own:
            others += 1
            state = followed(law, other)
            assert state is None or law.advance(state, end) is None, f"{other} is not how {text!r} is written"
    assert others > 700
    long = "".join(some_text(rng) for _ in range(40))
    state = followed(law, list(tokenizer.encode(long)))
    assert state is not None
    assert len(state) <= 200
    assert law.advance(state, end) is not None


@pytest.mark.parametrize("split", [False, True], ids=["no pretokenizer", "pretokenizer"])
@pytest.mark.parametrize("seed", range(6))
def test_random_small_bpes_by_brute_force(seed: int, split: bool) -> None:
    """Every sequence of tokens up to a length: it may end iff the tokenizer makes it, and is a beginning if one goes on so."""
    rng = random.Random(seed)
    merges: list[tuple[str, str]] = []
    pieces = ["a", "b", "Ġ"]
    while len(merges) < 6:
        pair = rng.choice(pieces), rng.choice(pieces)
        if pair not in merges and "".join(pair) not in pieces:
            merges.append(pair)
            pieces.append("".join(pair))
    words = list(dict.fromkeys([*pieces, *sorted(pre_tokenizers.ByteLevel.alphabet())]))
    backend = Backend(models.BPE(vocab={piece: i for i, piece in enumerate(words)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<end>"])
    tokenizer = Tokenizer(backend, {"eos_token": "<end>"})
    vocab = tokenizer.vocab
    law, [end] = canonical(vocab), vocab.end
    used = [id for id in range(vocab.size) if vocab[id] and set(vocab[id]) <= set(b"ab ")]
    made = {tuple(tokenizer.encode("".join(w))) for n in range(8) for w in itertools.product("ab ", repeat=n)}
    alive = {tokens[:n] for tokens in made for n in range(len(tokens) + 1)}
    for tokens in (tokens for n in range(4) for tokens in itertools.product(used, repeat=n)):
        text = vocab.join(tokens).decode()
        state = followed(law, list(tokens))
        ends = state is not None and law.advance(state, end) is not None
        assert ends == (list(tokenizer.encode(text)) == list(tokens)), f"{tokens} for {text!r}"
        assert state is not None or tokens not in alive, f"{tokens} is a beginning of a canonical text"
        if not split:
            assert (state is not None) == ends, "without a pretokenizer what begins a canonical text is one"
