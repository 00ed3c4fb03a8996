"""Drafts from a guide: bytes that must come next, written as tokens."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from espalier.drafting.draft import Draft, Drafter, Kind
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer
from espalier.text.vocab import Vocab

if TYPE_CHECKING:
    from espalier.constraints.guide import Guide

Encode = Callable[[str], Sequence[int]]


class Forced(Drafter):
    """A chain: the tokens of the bytes that the guide forces after x; where it forces none, what `otherwise` drafts.

    Guarantee: lossless. The bytes are certain, their split into tokens is not (`{"` may be one token or two), so the tokens
    are a draft like any other and the model has the last word. `encode` is the tokenizer's encoding of a text; without it
    each token is the longest that fits. At most `tokens` are drafted.

    Up to equal law: `speculate` with this drafter is `sample`, with fewer passes where the frame leaves no choice (Zheng et
    al. 2024, "SGLang", arXiv 2312.07104, jump to what must follow without asking the model at all; that changes the law).

    >>> import espalier as es
    >>> vocab = es.models.ngram.Vocab([b"a", b"b", b"ab", b"c", None], end=[4])
    >>> drafter = Forced(es.regex("ab(abc|abb)"), vocab)
    >>> drafter.draft(es.Prefix([0])).prefixes[-1].written()
    [2, 2]
    """

    def __init__(
        self, guide: Guide, vocab: Vocab, encode: Encode | None = None, otherwise: Drafter | None = None, tokens: int = 64
    ) -> None:
        require(tokens >= 1, f"tokens={tokens}: a draft budget is at least 1; leave the drafter out for plain decoding")
        from espalier.constraints.tokens import TokenGuide

        self.guide, self.vocab, self.encode, self.otherwise, self.limit = guide, vocab, encode, otherwise, tokens
        self._law = TokenGuide(guide, vocab)
        self._states: WeakKeyDictionary[Prefix, Any] = WeakKeyDictionary()
        self._longest = _longest_match(vocab) if encode is None else None
        self._asked = False  # whether the latest draft is the other drafter's
        if otherwise is not None:
            self.want = otherwise.want

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return self.otherwise.kind if self.otherwise is not None else "deterministic"

    def check(self, scorer: Scorer) -> None:
        require(
            scorer.vocab_size == self.vocab.size,
            f"the forced drafts are over {self.vocab.size} tokens, the scorer's rows over {scorer.vocab_size}; "
            "give Forced the scorer's own vocabulary",
        )
        if self.otherwise is not None:
            self.otherwise.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        otherwise = self.otherwise.begin(x) if self.otherwise is not None else None
        return Forced(self.guide, self.vocab, self.encode, otherwise, self.limit)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        draft = self.draft(x)
        self._asked = len(draft) == 0 and self.otherwise is not None
        if self._asked and self.otherwise is not None:
            draft = yield from self.otherwise.propose(x, rng)
        return draft

    def join(self, draft: Draft) -> None:
        if self._asked and self.otherwise is not None:
            self.otherwise.join(draft)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if self._asked and self.otherwise is not None:
            self.otherwise.observe(x, draft, rows)

    def draft(self, x: Prefix) -> Draft:
        """The forced draft below x."""
        draft = Draft(x)
        state = self._state(x)
        data = self._law.forced(state) if state is not None else b""
        if data:
            draft.extend(0, self._tokens(data)[: self.limit])
        return draft

    def _state(self, x: Prefix) -> Any:
        missing = []
        for node in x.up():
            if node in self._states:
                break
            missing.append(node)
            if node is node.origin:
                break
        for node in reversed(missing):
            state = self._law.start() if node is node.origin else self._states[node.parent]  # type: ignore[index]
            for token in () if node is node.origin else node.tokens:
                state = self._law.advance(state, token) if state is not None else None
            self._states[node] = state
        return self._states[x]

    def _tokens(self, data: bytes) -> list[int]:
        if self.encode is None:
            assert self._longest is not None
            return self._longest(data, self.limit)
        text = data.decode("utf-8", "ignore") if data[-1] < 128 else data.decode("utf-8", "replace").rstrip("\ufffd")
        tokens: list[int] = []
        done = 0
        for token in self.encode(text) if text else ():
            piece = self.vocab[token]
            if not piece or not data.startswith(piece, done):
                break  # the encoding writes something else (a special token, a changed blank): what comes after is useless
            tokens.append(token)
            done += len(piece)
        return tokens


def _longest_match(vocab: Vocab) -> Callable[[bytes, int], list[int]]:
    """Writes bytes as tokens, each the longest that fits, as far as that goes."""
    ids = {token: id for id, token in reversed(list(enumerate(vocab.tokens))) if token}
    longest = max(map(len, ids), default=0)

    def tokens(data: bytes, limit: int) -> list[int]:
        made: list[int] = []
        at = 0
        while at < len(data) and len(made) < limit:
            size = next((n for n in range(min(longest, len(data) - at), 0, -1) if data[at : at + n] in ids), 0)
            if not size:
                break
            made.append(ids[data[at : at + size]])
            at += size
        return made

    return tokens
