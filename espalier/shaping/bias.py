"""Biases: numbers added to the logits of chosen tokens."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from espalier.errors import InvalidInput, expect, require
from espalier.prefix import Prefix
from espalier.shaper import Edit, Shaper, Stage
from espalier.shaping.history import History
from espalier.text.vocab import Vocab


class bias(Shaper):
    """Adds a number to the logits of chosen tokens; -inf forbids one.

    >>> import espalier as es
    >>> bias({1: 2.0})(torch.zeros(1, 3), [es.Prefix()]).tolist()
    [[0.0, 2.0, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, amounts: Mapping[int, float]) -> None:
        expect(amounts, Mapping, "logit_bias", "token ids with what is added to their logits, such as {7: -2.0}")
        for token, amount in amounts.items():
            expect(token, Integral, "a key of logit_bias", "the id of a token")
            expect(amount, Real, "a value of logit_bias", "a number")
        wrong = [a for a in amounts.values() if not (a == -math.inf or -1e30 <= a <= 1e30)]
        require(not wrong, f"logit_bias: {wrong[:1]} is no bias; write a number from -1e30 to 1e30, or -inf to forbid a token")
        self.amounts = dict(amounts)
        by = np.array([float(amount) for amount in amounts.values()], np.float32)
        self._edits = [Edit("add", np.array(list(amounts), np.int64).astype(np.int32), by)]

    def edits(self, x: Prefix) -> Sequence[Edit] | None:
        return self._edits if type(self) is bias else None

    def check(self, vocab_size: int) -> None:
        wrong = [token for token in self.amounts if not 0 <= token < vocab_size]
        require(not wrong, f"logit_bias: token {wrong[:1]} is outside this vocabulary of {vocab_size} tokens")

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if not self.amounts:
            return weights
        at = torch.tensor(list(self.amounts), device=weights.device)
        return weights.index_add(-1, at, weights.new_tensor(list(self.amounts.values())).expand(len(weights), -1))


Phrase: TypeAlias = "str | bytes | tuple[int, ...]"


class sequence_bias(History[tuple[bytes, tuple[int, ...]]]):
    """Adds a number to the logits of the tokens that would complete a phrase; -inf forbids the phrase.

    A phrase is a text, found in the bytes of prompt and output, however it is split into tokens (a token that goes on behind
    the phrase completes it too), or a tuple of token ids, which must end the text exactly. Texts need the scorer's vocabulary.
    Guarantee: with -inf the phrase is never written.

    >>> sequence_bias({(0, 1): 2.0})(torch.zeros(1, 3), [Prefix([0])]).tolist()
    [[0.0, 2.0, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, amounts: Mapping[Phrase, float], vocab: Vocab | None = None) -> None:
        expect(amounts, Mapping, "sequence_bias", "texts with what is added to their last token's logit: {' maybe': -2.0}")
        require(len(amounts) > 0, "sequence_bias: there is no phrase; write {' maybe': -2.0}")
        for phrase, amount in amounts.items():
            expect(phrase, (str, bytes, tuple), "a phrase of sequence_bias", "a text or a tuple of token ids")
            require(len(phrase) > 0, "a phrase of sequence_bias is empty, so it would be complete everywhere; leave it out")
            expect(amount, Real, "a value of sequence_bias", "a number")
            require(amount == amount and amount < float("inf"), f"a bias of {amount}: it is a number below infinity")
        self.amounts, self.vocab = dict(amounts), vocab
        encoded = {phrase.encode() if isinstance(phrase, str) else phrase: a for phrase, a in amounts.items()}
        self.texts = {phrase: amount for phrase, amount in encoded.items() if isinstance(phrase, bytes)}
        self.runs = {phrase: amount for phrase, amount in encoded.items() if isinstance(phrase, tuple)}
        self._bytes = max((len(text) for text in self.texts), default=1) - 1
        self._tokens = max((len(run) for run in self.runs), default=1) - 1
        self._completing = functools.lru_cache(4096)(self._complete)

    def check(self, vocab_size: int) -> None:
        wrong = [token for run in self.runs for token in run if not 0 <= token < vocab_size]
        require(not wrong, f"sequence_bias: token {wrong[:1]} is outside this vocabulary of {vocab_size} tokens")

    def bound(self, vocab: Vocab | None) -> Shaper:
        if not self.texts or self.vocab is not None:
            return self
        if vocab is None:
            raise InvalidInput("sequence_bias was given texts, but this scorer has no vocabulary; give tuples of token ids")
        return type(self)(self.amounts, vocab)

    def begin(self, x: Prefix) -> tuple[bytes, tuple[int, ...]]:
        text = self.vocab.join(x.ids()) if self.vocab is not None and self._bytes else b""
        return text[max(0, len(text) - self._bytes) :], tuple(x.tail(self._tokens))

    def step(self, state: tuple[bytes, tuple[int, ...]], token: int) -> tuple[bytes, tuple[int, ...]]:
        text = state[0] + self.vocab[token] if self.vocab is not None else b""
        run = (*state[1], token)
        return text[max(0, len(text) - self._bytes) :], run[max(0, len(run) - self._tokens) :]

    def shape(self, row: Tensor, state: tuple[bytes, tuple[int, ...]]) -> Tensor:
        require(self.vocab is not None or not self.texts, "texts need a vocabulary: write scorer | sequence_bias(…)")
        row = row.clone()
        for tokens, amount in self._added(*state):
            row[torch.tensor(tokens, device=row.device)] += amount
        return row

    def changes(self, state: tuple[bytes, tuple[int, ...]]) -> Sequence[Edit] | None:
        require(self.vocab is not None or not self.texts, "texts need a vocabulary: write scorer | sequence_bias(…)")
        added = self._added(*state)
        return [Edit("add", np.array(tokens, np.int32), np.full(len(tokens), amount, np.float32)) for tokens, amount in added]

    def _added(self, written: bytes, run: tuple[int, ...]) -> list[tuple[list[int], float]]:
        """The tokens that would complete a phrase, each once, with what is added to their logits: a list for each phrase."""
        added: list[tuple[list[int], float]] = []
        for tokens, amount in self.runs.items():
            if len(tokens) <= len(run) + 1 and run[len(run) + 1 - len(tokens) :] == tokens[:-1]:
                added.append(([tokens[-1]], amount))
        for text, amount in self.texts.items():
            begun = [n for n in range(min(len(text) - 1, len(written)) + 1) if written.endswith(text[:n])]
            if found := {token for n in begun for token in self._completing(text, n)}:
                added.append((sorted(found), amount))
        return added

    def _complete(self, text: bytes, begun: int) -> tuple[int, ...]:
        """The tokens that complete a text of which `begun` bytes are written."""
        assert self.vocab is not None
        rest, tokens = text[begun:], enumerate(self.vocab.tokens)
        return tuple(i for i, token in tokens if (token.startswith(rest) if begun else rest in token))


class ban(sequence_bias):
    """Forbids texts: vulnerability labels that a code model was tuned to write, or any words; however they are tokenised.

    Guarantee: none of them is ever written, also across the end of the prompt. Tokens that would complete one have no
    probability, so a constraint that asks for one finds a dead end. Storhaug, Li, Hu 2023, "Vulnerability-constrained decoding"
    (arXiv 2309.09826).

    >>> from espalier.text import Vocab
    >>> rule = ban("ab").bound(Vocab([b"a", b"b", b"abb"]))
    >>> rule(torch.zeros(1, 3), [Prefix([0])]).tolist()
    [[0.0, -inf, -inf]]
    """

    def __init__(self, *texts: str | bytes) -> None:
        require(len(texts) > 0, "ban() was given no text; write ban('<vulnerable>')")
        super().__init__(dict.fromkeys(texts, -math.inf))

    def bound(self, vocab: Vocab | None) -> Shaper:
        new = ban(*self.amounts)  # type: ignore[arg-type]
        new.vocab = vocab if self.vocab is None else self.vocab
        return new if new.vocab is not None else super().bound(None)
