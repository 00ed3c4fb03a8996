"""Draft models of another vocabulary: their laws carried over to the target's tokens."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Drafter, budget
from espalier.errors import DeadEnd, InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer
from espalier.shaping.second_stream import twins
from espalier.text.vocab import Vocab

Encode: TypeAlias = Callable[[bytes], Sequence[int]]


class Translation:
    """Prefixes of one vocabulary as prefixes of another that write the same bytes, kept as long as the first live.

    A token that both have is carried over as it is, any other as the pieces into which `encode` cuts its bytes (by default
    the longest token that fits, again and again; a byte that no token writes is left out). Special tokens are carried over
    by name where both vocabularies have the name, and left out otherwise.
    """

    def __init__(self, source: Vocab, target: Vocab, encode: Encode | None = None) -> None:
        self.source, self.target = source, target
        self.encode = encode if encode is not None else longest_match(target)
        self.same = {i: target.ids[token] for i, token in enumerate(source.tokens) if token in target.ids}
        names = {target.name(i): i for i in target.special if target.name(i) != f"<{i}>"}  # a name, not just its number
        self.same |= {i: names[source.name(i)] for i in source.special if source.name(i) in names}
        self.prefix = twins(lambda root: Prefix(self._tokens(root)), self._tokens)  # that writes in `target` what x writes

    def _tokens(self, node: Prefix) -> list[int]:
        if node.origin is not node:
            return [piece for token in node.tokens for piece in self._pieces(token)]
        tokens, text = list[int](), b""
        for token in node.tokens:  # given text is cut anew as a whole, between special tokens
            if token in self.source.special:
                tokens += [*self.encode(text), *self._pieces(token)]
                text = b""
            else:
                text += self.source[token]
        return [*tokens, *self.encode(text)]

    def _pieces(self, token: int) -> Sequence[int]:
        return [self.same[token]] if token in self.same else self.encode(self.source[token])


def longest_match(vocab: Vocab) -> Encode:
    """The encoder that takes the longest token that fits, from left to right; a byte that no token writes is left out.

    >>> longest_match(Vocab([b"a", b"b", b"ab"]))(b"aab?a")
    [0, 2, 0]
    """

    def encode(text: bytes) -> list[int]:
        tokens = list[int]()
        while text:
            more = vocab.cut(text)
            tokens += more
            text = text[len(vocab.join(more)) + 1 :]
        return tokens

    return encode


def vocab_of(scorer: Scorer) -> Vocab:
    """The scorer's vocabulary. Raises `InvalidInput` if it has none."""
    if scorer.vocab is None:
        raise InvalidInput("the draft model has no vocabulary, so it cannot be mapped to another; set model.vocab = Vocab(…)")
    return scorer.vocab


class Intersection(Scorer):
    """The rows of a scorer of another vocabulary on the tokens whose bytes both have, renormalised: token-level intersection.

    A scorer over the target's vocabulary, for `DraftModel` and any exact rule: `DraftModel(Intersection(draft, lm.vocab))`.
    A text's end is carried over, too. Timor et al. 2025, "Accelerating LLM inference with lossless speculative decoding
    algorithms for heterogeneous vocabularies" (arXiv 2502.05202): TLI.

    >>> import espalier as es
    >>> ours, theirs = Vocab([b"a", b"b", b"ab"]), Vocab([b"b", b"a"])
    >>> model = es.models.Table.random(vocab_size=2, depth=1, seed=0, vocab=theirs)
    >>> target = es.models.Table.random(vocab_size=3, depth=1, seed=1, vocab=ours)
    >>> drafter, verify = es.drafting.DraftModel(Intersection(model, ours), tokens=2), es.verification.Rejection()
    >>> [x] = es.run(es.speculate(target, Prefix([0]), es.stop.budget(6), drafter, verify, es.Rng(0)))
    >>> len(x.written())
    6
    """

    def __init__(self, inner: Scorer, vocab: Vocab, encode: Encode | None = None) -> None:
        theirs = vocab_of(inner)
        self.inner, self.vocab, self.vocab_size = inner, vocab, vocab.size
        self.translation = Translation(vocab, theirs, encode)
        pairs = {ours: other for ours, other in self.translation.same.items() if ours not in vocab.special}
        if vocab.end and theirs.end:
            pairs[min(vocab.end)] = min(theirs.end)
        require(bool(pairs), "the two vocabularies have no token in common; es.drafting.Retokenised drafts text instead")
        self.ours, self.theirs = torch.tensor(list(pairs)), torch.tensor(list(pairs.values()))

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, [self.translation.prefix(x) for x in prefixes], want)
        logps = torch.stack([self._carry(rows, i) for i in range(len(prefixes))])
        return Rows(logps, prefixes, rows.extras)

    def _carry(self, rows: Rows, i: int) -> Tensor:
        try:
            logp = rows[i].dense()
        except DeadEnd:
            logp = torch.full_like(rows.logits[i], -torch.inf)
        common = logp[self.theirs.to(logp.device)]
        if not bool((common > -torch.inf).any()):
            common = torch.zeros_like(common)  # nothing of the law is left: any of the common tokens
        return torch.full((self.vocab_size,), -torch.inf, dtype=logp.dtype, device=logp.device).index_copy(
            0, self.ours.to(logp.device), torch.log_softmax(common, -1)
        )


class StringLaw(Scorer):
    """The probability that the text which a scorer of another vocabulary writes begins with each token of the target's.

    Exactly: that the token is the longest of the target's that the text begins with, summed over all ways in which the other
    vocabulary can spell it. That takes a row for every spelling of every beginning of a token, so it is for small
    vocabularies (bytes, characters); more than `limit` rows raise `InvalidInput`. Special tokens other than the end of the
    text get nothing. Timor et al. 2025 (arXiv 2502.05202): string-level rejection sampling (SLRS).

    >>> import espalier as es
    >>> ours, theirs = Vocab([b"a", b"b", b"ab"]), Vocab([b"b", b"a"])
    >>> model = es.models.Table.random(vocab_size=2, depth=1, seed=0, vocab=theirs)
    >>> target = es.models.Table.random(vocab_size=3, depth=1, seed=1, vocab=ours)
    >>> drafter, verify = es.drafting.DraftModel(StringLaw(model, ours), tokens=2), es.verification.Rejection()
    >>> [x] = es.run(es.speculate(target, Prefix([0]), es.stop.budget(6), drafter, verify, es.Rng(0)))
    >>> len(x.written())
    6
    """

    def __init__(self, inner: Scorer, vocab: Vocab, encode: Encode | None = None, limit: int = 512) -> None:
        self.inner, self.vocab, self.vocab_size, self.limit = inner, vocab, vocab.size, limit
        self.end = min(vocab.end, default=None)
        self.theirs = vocab_of(inner)
        self.translation = Translation(vocab, self.theirs, encode)
        self.ids = vocab.ids
        self.beginnings = {token[:n] for token in vocab.ids for n in range(1, len(token) + 1)}
        self.inside = {token[:n] for token in vocab.ids for n in range(len(token))}
        self.longer = {token: self._next_longer(token) for token in vocab.ids}

    def _next_longer(self, token: bytes) -> list[bytes]:
        more = [t for t in self.ids if t.startswith(token) and t != token]
        return [t for t in more if not any(t[:n] in self.ids for n in range(len(token) + 1, len(t)))]

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        mass = [dict.fromkeys(self.beginnings, 0.0) for _ in prefixes]
        end = [0.0] * len(prefixes)
        level = [(i, self.translation.prefix(x), b"", 1.0) for i, x in enumerate(prefixes)]
        asked, first = 0, True
        while level:
            asked += len(level)
            if asked > self.limit * len(prefixes):
                raise InvalidInput(
                    f"the two vocabularies spell each other's tokens in more than limit={self.limit} ways; use "
                    "es.drafting.Intersection, whose cost is one row, or raise limit"
                )
            rows: Rows = yield Ask(self.inner, [y for _, y, _, _ in level])
            level = [entry for at, rest in enumerate(level) for entry in self._spell(rest, rows[at].probs(), mass, end, first)]
            first = False
        return Rows(torch.stack([self._law(m, e) for m, e in zip(mass, end, strict=True)]), prefixes)

    def _spell(
        self, entry: tuple[int, Prefix, bytes, float], q: Tensor, mass: list[dict[bytes, float]], end: list[float], first: bool
    ) -> list[tuple[int, Prefix, bytes, float]]:
        i, y, text, chance = entry
        more = []
        for v in (q > 0).nonzero().flatten().tolist():
            written, p = text + self.theirs[v], chance * float(q[v])
            if first and v in self.theirs.end:
                end[i] += p
            for n in range(len(text) + 1, len(written) + 1):
                if written[:n] not in self.beginnings:
                    break
                mass[i][written[:n]] += p
            if self.theirs[v] and written in self.inside:
                more.append((i, y + v, written, p))
        return more

    def _law(self, mass: dict[bytes, float], end: float) -> Tensor:
        psi = torch.zeros(self.vocab_size, dtype=torch.float64)
        for token, i in self.ids.items():
            psi[i] = max(0.0, mass[token] - sum(mass[t] for t in self.longer[token]))
        if self.end is not None:
            psi[self.end] = end
        if not bool(psi.any()):
            psi[list(self.ids.values())] = 1.0
        return psi.log()


class Retokenised(Drafter):
    """The text that a draft model of another vocabulary writes greedily, cut into the target's tokens: string-level match.

    Deterministic; for `SampleMatch` and `GreedyMatch`. The last tokens of the prefix are cut anew together with the new text
    and the draft begins where the old text ends, if the new cut has a boundary there. Timor et al. 2025 (arXiv 2502.05202):
    SLEM.

    >>> import espalier as es
    >>> ours, theirs = Vocab([b"a", b"b", b"ab"]), Vocab([b"b", b"a"])
    >>> model = es.models.Table.random(vocab_size=2, depth=1, seed=0, vocab=theirs)
    >>> [draft] = es.run(Retokenised(model, ours, tokens=3).propose(Prefix([2]), es.Rng(0)))
    >>> len(ours.join(draft.prefixes[-1].written()))
    3
    """

    def __init__(
        self, scorer: Scorer, vocab: Vocab, tokens: int = 6, behind: int = 10, encode: Encode | None = None,
        encode_target: Encode | None = None,
    ) -> None:  # fmt: skip
        budget(tokens=tokens)
        self.scorer, self.vocab, self.tokens, self.behind = scorer, vocab, tokens, behind
        self.translation = Translation(vocab, vocab_of(scorer), encode)
        self.encode = encode_target if encode_target is not None else longest_match(vocab)

    def check(self, scorer: Scorer) -> None:
        if scorer.vocab is not None and scorer.vocab != self.vocab:
            raise InvalidInput("this drafter cuts its text for another vocabulary than the target's; give it lm.vocab")

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        theirs = vocab_of(self.scorer)
        y = start = self.translation.prefix(x)
        for _ in range(self.tokens):
            [row] = yield Ask(self.scorer, [y])
            try:
                token = row.argmax()
            except DeadEnd:
                break
            y = y + token
            if token in theirs.end:
                break
        draft = Draft(x)
        last = draft.extend(0, self._cut(x, theirs.join(y.since(start))))
        if y is not start and y.last in theirs.end and self.vocab.end:
            draft.add(last, min(self.vocab.end))
        return draft

    def _cut(self, x: Prefix, text: bytes) -> list[int]:
        before = self.vocab.join(x.tail(self.behind))
        tokens, at = list(self.encode(before + text)), 0
        for i, token in enumerate(tokens):
            if at == len(before):
                return tokens[i:]
            at += len(self.vocab[token])
        return list(self.encode(text))
