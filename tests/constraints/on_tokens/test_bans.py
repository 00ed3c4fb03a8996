"""Bans have the renormalised law that they say; canonical tokenization is what the tokenizer makes."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

import espalier as es
from espalier.constraints import ban, canonical
from espalier.errors import InvalidInput
from espalier.testing import assert_same_law, exact_law
from espalier.text.tokenizer import Tokenizer
from espalier.text.vocab import Vocab


def test_a_ban_is_the_softmax_without_what_is_banned_and_the_nearest_such_row() -> None:
    model = es.models.Table.random(vocab_size=6, depth=1, seed=4)

    def rows(scorer):
        row = (yield es.Ask(scorer, [es.Prefix([2])]))[0]
        return row.dense(), row.log_normaliser

    [(logp, logz)] = es.run(rows(model * ban([1, 3])))
    p = model.row((2,)).double().softmax(-1)
    masked = model.row((2,)).double().clone()
    masked[[1, 3]] = -torch.inf
    assert torch.allclose(logp.double().exp(), masked.softmax(-1), atol=1e-12)
    assert logz == pytest.approx(float((1 - p[1] - p[3]).log()), abs=1e-9)
    q, rng = logp.double().exp(), torch.Generator().manual_seed(0)

    def divergence(q):
        inside = q > 0
        return float((q[inside] * (q[inside] / p[inside]).log()).sum())

    for _ in range(200):
        other = torch.rand(6, generator=rng, dtype=torch.float64)
        other[[1, 3]] = 0
        assert divergence(other / other.sum()) >= divergence(q) - 1e-12
    assert divergence(q) == pytest.approx(-logz, abs=1e-9)


def test_bans_of_tokens_and_texts_stand_together() -> None:
    vocab = Vocab([b"a", b"b", b"ab", b"!", None], end=[4])
    model = es.models.Table.random(5, depth=1, seed=0)
    bare = es.models.Table.random(5, depth=1, seed=0)
    model.vocab = vocab
    stop = es.stop.end([4]) | es.stop.budget(3)
    law = exact_law(lambda rng: es.sample(model * ban("ab", 3), es.Prefix([0]), stop, rng), lambda x: tuple(x.written()))
    assert law
    for tokens in law:
        assert 3 not in tokens
        assert b"ab" not in vocab.join(tokens), "however it is split into tokens"
    with_mask = exact_law(lambda rng: es.sample(model * ban(3), es.Prefix([0]), stop, rng), lambda x: tuple(x.written()))
    without = exact_law(lambda rng: es.sample(bare * ban(3), es.Prefix([0]), stop, rng), lambda x: tuple(x.written()))
    assert_same_law(with_mask, without)


def test_labels_of_unsafe_code_never_come() -> None:
    """Vulnerability-constrained decoding: the labels that a model was trained to write are banned."""
    vocab = Vocab([b"strcpy(a, b);", b"strncpy(a, b, n);", b"// VULN ", b"// VULN: CWE-121", b"// ", b"VULN", None], end=[6])
    model = es.models.Table.random(7, depth=2, seed=1)
    model.vocab = vocab
    for seed in range(20):
        [x] = es.run(es.sample(model * ban("// VULN"), es.Prefix([0]), es.stop.end([6]) | es.stop.budget(8), es.Rng(seed)))
        assert b"// VULN" not in vocab.join(x.written())


def bpe(merges: list[tuple[str, str]], split: bool) -> Tokenizer:
    letters = [*"abĠ", *(x + y for x, y in merges)]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys([*letters, *sorted(pre_tokenizers.ByteLevel.alphabet())]))}
    backend = Backend(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<end>"])
    return Tokenizer(backend, {"eos_token": "<end>"})


MERGES = [("a", "b"), ("Ġ", "a"), ("ab", "a"), ("b", "b"), ("Ġ", "Ġ"), ("Ġa", "b")]


@pytest.mark.parametrize("split", [False, True], ids=["no pretokenizer", "pretokenizer"])
def test_canonical_texts_are_those_that_the_tokenizer_makes(split: bool) -> None:
    tokenizer = bpe(MERGES, split)
    vocab = tokenizer.vocab
    law, [end] = canonical(vocab), vocab.end
    used = [id for id in range(vocab.size) if vocab[id] and set(vocab[id]) <= set(b"ab ")]
    texts = ["".join(word) for n in range(6) for word in itertools.product("ab ", repeat=n)]
    made = {tuple(tokenizer.encode(text)) for text in texts}
    alive = {tokens[:n] for tokens in made for n in range(len(tokens) + 1)}
    for n in range(4):
        for tokens in itertools.product(used, repeat=n):
            state = law.start()
            for token in tokens:
                state = law.advance(state, token) if state is not None else None
            text = vocab.join(tokens).decode()
            ends = state is not None and law.advance(state, end) is not None
            assert ends == (tokenizer.encode(text) == list(tokens)), f"{tokens} for {text!r}"
            if tokens in alive:
                assert state is not None, f"{tokens} is a beginning of a canonical text"
            elif len(text) <= 3 and not split:
                assert state is None, f"{tokens} is no beginning of a canonical text"


def test_samples_are_canonical_and_long_texts_go_on() -> None:
    tokenizer = bpe(MERGES, True)
    vocab = tokenizer.vocab
    rng = random.Random(0)
    weights = torch.full((vocab.size,), -30.0)
    for id in range(vocab.size):
        if vocab[id] and set(vocab[id]) <= set(b"ab "):
            weights[id] = rng.random()
    model = es.models.Table(vocab.size, 0, lambda _: weights)
    model.vocab = vocab
    [x] = es.run(es.sample(model * canonical(vocab), es.Prefix([0]), es.stop.budget(150), es.Rng(1)))
    tokens = x.written()
    assert tokenizer.encode(vocab.join(tokens[:100]).decode())[:90] == tokens[:90]
    assert len(tokens) == 150


def test_characters_of_several_tokens_are_canonical_when_they_are_whole() -> None:
    tokenizer = bpe(MERGES, True)
    law = canonical(tokenizer.vocab)
    state = law.start()
    for token in tokenizer.encode("é a"):
        state = law.advance(state, token)
        assert state is not None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ban(), "give tokens or texts"),
        (lambda: ban(1.5), "a token is a whole number"),  # type: ignore[arg-type]
        (lambda: ban(9).over(Vocab([b"a"])), "there are the tokens 0 to 0"),
        (lambda: canonical(Vocab([b"a"])), "knows no tokenizer; write canonical"),
        (lambda: canonical(Vocab([b"a"]), "encode"), "no function from a text"),  # type: ignore[arg-type]
    ],
)
def test_wrong_use_is_told(call, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()
