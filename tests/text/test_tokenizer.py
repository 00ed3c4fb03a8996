"""Tokenizers on small vocabularies: what they promise about bytes, special tokens, chats, and agreement with the definition."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders
from tokenizers.models import WordPiece

from espalier.errors import InvalidInput, LoadError
from espalier.text.from_gguf import merges_from_scores, tokenizer_from_gguf
from espalier.text.tokenizer import Tokenizer, byte_of_character

LETTERS = {byte: character for character, byte in byte_of_character().items()}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}"


def byte_level(pre: str = "smollm", missing: Sequence[int] = (), **more: Any) -> Tokenizer:
    merges = ["t h", "th e", "i n", f"{LETTERS[32]} the", "1 2", f"{LETTERS[0xC3]} {LETTERS[0xA9]}"]
    words = [LETTERS[b] for b in range(256) if b not in missing]
    words += [merge.replace(" ", "") for merge in merges] + ["<|im_start|>", "<|im_end|>"]
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.token_type": [1] * (len(words) - 2) + [3, 3],
        "tokenizer.ggml.bos_token_id": len(words) - 2,
        "tokenizer.ggml.eos_token_id": len(words) - 1,
        "tokenizer.chat_template": TEMPLATE,
        **more,
    }
    return Tokenizer(*tokenizer_from_gguf(metadata))


PIECES = (
    ["<unk>", "<s>", "</s>"]
    + [f"<0x{b:02X}>" for b in range(256)]
    + ["▁", "a", "b", "c", "▁a", "ab", "bc", "abc", "▁ab", "aa", "▁▁"]
)
KINDS = [2, 3, 3] + [6] * 256 + [1] * 10 + [4]


def sentencepiece(**more: Any) -> Tokenizer:
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": PIECES,
        "tokenizer.ggml.token_type": KINDS,
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(i) for i in range(11)],
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_space_prefix": False,
        **more,
    }
    return Tokenizer(*tokenizer_from_gguf(metadata))


TEXT = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("the in12 é<|im_end|>")), max_size=30)
BPE, SPM = byte_level(), sentencepiece()


@given(TEXT)
def test_encoded_text_is_the_same_bytes_and_nothing_special(text: str) -> None:
    for tokenizer in (BPE, SPM):
        for given_text in (text, text + "<|im_end|><s></s>"):
            ids = tokenizer.encode(given_text)
            assert tokenizer.vocab.join(ids) == given_text.encode()
            assert tokenizer.decode(ids) == given_text
            assert tokenizer.vocab.special.isdisjoint(ids)


def test_with_special_names_are_tokens_and_what_belongs_around_is_added() -> None:
    end = BPE.vocab.size - 1
    assert BPE.encode("in<|im_end|>", special=True)[-1] == end
    assert BPE.vocab.end == {end}
    assert BPE.vocab.name(end) == "<|im_end|>"
    assert SPM.encode("a", special=True) == [SPM.begin, PIECES.index("a")]
    assert SPM.encode("a") == [PIECES.index("a")]


def test_digits_stand_alone_where_the_model_was_trained_so() -> None:
    assert [BPE.vocab[i] for i in BPE.encode("12")] == [b"1", b"2"]
    gpt2 = byte_level("gpt-2")
    assert [gpt2.vocab[i] for i in gpt2.encode("12 the")] == [b"12", b" the"]


def test_a_way_of_splitting_that_is_not_known_is_refused() -> None:
    with pytest.raises(LoadError, match="'klingon'"):
        byte_level("klingon")


def test_characters_that_no_token_writes_are_refused_not_dropped() -> None:
    tokenizer = byte_level(missing=[0x04, 0xF1])
    with pytest.raises(InvalidInput, match=r"U\+0004 at position 2"):
        tokenizer.encode("ab\x04")
    with pytest.raises(InvalidInput, match=r"U\+40000 at position 0"):
        tokenizer.encode("\U00040000")
    assert tokenizer.decode(tokenizer.encode("fine")) == "fine"


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        BPE.encode("a\ud800")


def test_chat_follows_the_template_and_a_string_is_the_users() -> None:
    messages = [{"role": "user", "content": "the in"}]
    assert BPE.chat("the in") == BPE.chat(messages) == BPE.encode("<|im_start|>user:the in<|im_end|>", special=True)
    with pytest.raises(InvalidInput, match="'role'"):
        BPE.chat([{"content": "x"}])


def test_without_a_template_a_string_goes_on_and_messages_are_refused() -> None:
    assert SPM.template is None
    assert SPM.chat("ab") == SPM.encode("ab", special=True)
    with pytest.raises(InvalidInput, match="no chat template"):
        SPM.chat([{"role": "user", "content": "ab"}])


def test_a_space_before_the_text_where_the_model_was_trained_so() -> None:
    tokenizer = sentencepiece(**{"tokenizer.ggml.add_space_prefix": True})
    assert tokenizer.encode("a") == [PIECES.index("▁a")]


def test_rows_wider_than_the_tokenizer_are_special(tmp_path: Path) -> None:
    backend, settings = tokenizer_from_gguf(
        {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": [LETTERS[b] for b in range(256)], "tokenizer.ggml.merges": []}
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = Tokenizer.from_folder(tmp_path, end=[256], size=260)
    assert tokenizer.vocab.size == 260
    assert tokenizer.vocab.special == {256, 257, 258, 259}
    assert tokenizer.vocab.end == {256}


def test_a_tokenizer_whose_tokens_have_no_bytes_is_refused() -> None:
    backend = Backend(WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    with pytest.raises(LoadError, match="no fixed bytes"):
        Tokenizer(backend)


def by_definition(text: str, pieces: Sequence[str], scores: Sequence[float]) -> list[str]:
    """Sentencepiece's BPE as it is defined: join the adjacent pair whose union scores best, the leftmost of equals."""
    parts = list(text)
    ids = {piece: id for id, piece in enumerate(pieces)}
    while True:
        unions = [(-scores[ids[a + b]], at) for at, (a, b) in enumerate(pairwise(parts)) if a + b in ids]
        if not unions:
            return parts
        _, at = min(unions)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@settings(max_examples=300)
@given(st.data())
def test_merges_from_scores_do_what_sentencepiece_does(data: st.DataObject) -> None:
    longer = data.draw(st.lists(st.text("abc", min_size=2, max_size=4), unique=True, max_size=10))
    pieces = ["a", "b", "c", *longer]
    ranks = data.draw(st.permutations(range(len(longer))))
    scores = [0.0, 0.0, 0.0, *(-1.0 - rank for rank in ranks)]
    text = data.draw(st.text("abc", min_size=1, max_size=10))
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.add_space_prefix": False,
    }
    backend, _ = tokenizer_from_gguf(metadata)
    # Equal unions cut in two ways (a|aa and aa|a) are where a list of merges can differ; both spell the same text.
    expected = by_definition(text, pieces, scores)
    got = backend.encode(text, add_special_tokens=False).tokens
    assert "".join(got) == text
    if len({len(p) for p in pieces}) <= 2 or not any(a != b and a + b == b + a for a in pieces for b in pieces):
        assert got == expected


def test_every_split_of_a_piece_is_a_merge_in_order_of_score() -> None:
    merges = merges_from_scores(["a", "b", "ab", "ba", "aba"], [0, 0, -2, -1, -3], set())
    assert merges == [("b", "a"), ("a", "b"), ("a", "ba"), ("ab", "a")]
