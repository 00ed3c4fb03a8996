"""Decoders whose input arrives, or goes round: wait-k, streaming commits, a queue of tokens, self-infilling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from espalier.decoders.beams.beam import Beam
from espalier.decoders.decoder import Weighted, at_least, check_parts
from espalier.decoders.sample import sample
from espalier.errors import LimitExceeded, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop
from espalier.stop import end as ended


@dataclass(frozen=True)
class WaitK:
    """Writing while reading: the t-th token is written when k + t − 1 tokens of the source have been read, or all of them.

    As a decoder it takes the prompt's tokens for the source; `prompt(read)` makes the prefix that the model sees of what was
    read (the tokens alone, unless given), behind which stands what was written. `write(scorer, source, prompt, stop)` gives
    the tokens and how much had been read for each. Greedy. Guarantee: a token depends on no later part of the source; with k ≥
    the length of the source it is plain decoding. Works with any model; those trained with such masks do well. Elbayad et al.
    2020 (arXiv 2005.08595).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> decoder = WaitK(2).write(model, [1, 2, 3], Prefix, es.stop.budget(4))
    >>> [(written, read)] = es.run(decoder)
    >>> len(written), read
    (4, [2, 3, 3, 3])
    """

    k: int
    prompt: Callable[[Sequence[int]], Prefix] | None = None

    def __post_init__(self) -> None:
        at_least(self, k=1)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        written, _ = yield from self.write(scorer, x.ids(), self.prompt or Prefix, stop)
        return [Weighted(_extended(x, written))]

    def write(
        self, scorer: Scorer, source: Sequence[int], prompt: Callable[[Sequence[int]], Prefix], stop: Stop
    ) -> Decoder[tuple[list[int], list[int]]]:
        """The tokens written, and how many source tokens had been read for each."""
        written: list[int] = []
        read: list[int] = []
        while True:
            seen = min(self.k + len(written), len(source))
            x = prompt(source[:seen])
            for token in written:
                x = x + token
            if written and stop(x) is not None:
                return written, read
            [row] = yield Ask(scorer, [x])
            written.append(row.argmax())
            read.append(seen)


@dataclass(frozen=True)
class Commit:
    """Streaming commits: after each chunk of input the text is decoded again from what is committed, and more is committed:
    the tokens that stay the greedy choice under the new input, or those that all beams share.

    As a decoder it takes its prompt for the only chunk. `follow(scorer, prompts, stop, rng)` takes the prefixes after each
    chunk, the last one with all of the input, and gives what is committed after each. Guarantee: what is committed is always a
    prefix of the result, and one chunk is plain decoding. "CarelessWhisper" 2025 (arXiv 2508.12301).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> [told] = es.run(Commit().follow(model, [Prefix([1]), Prefix([1, 2])], es.stop.budget(4), es.Rng(0)))
    >>> told[-1][: len(told[0])] == told[0], len(told[-1])
    (True, 4)
    """

    agree: Literal["greedy", "beams"] = "greedy"
    width: int = 4

    def __post_init__(self) -> None:
        require(self.agree in ("greedy", "beams"), f"agree={self.agree!r}; use 'greedy' or 'beams'")
        at_least(self, width=1)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        told = yield from self.follow(scorer, [x], stop, rng)
        return [Weighted(_extended(x, told[-1]))]

    def follow(self, scorer: Scorer, prompts: Sequence[Prefix], stop: Stop, rng: Rng) -> Decoder[list[list[int]]]:
        """What is committed after each chunk; after the last one, the whole text."""
        require(len(prompts) > 0, "there is no chunk of input to follow")
        committed: list[int] = []
        guess: list[int] = []
        told: list[list[int]] = []
        for number, prompt in enumerate(prompts):
            x = _extended(prompt, committed)
            texts = yield from self._decoded(scorer, x, stop, rng)
            if number == len(prompts) - 1:
                told.append(texts[0])
                return told
            agreed = _shared(texts) if self.agree == "beams" else _shared([texts[0], guess])
            guess = texts[0]
            committed = agreed if len(agreed) > len(committed) else committed
            told.append(list(committed))
        return told

    def _decoded(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[list[int]]]:
        if x.written() and stop(x) is not None:
            return [x.written()]
        if self.agree == "beams":
            found = yield from Beam(self.width)(scorer, x, stop, rng)
            return [f.prefix.written() for f in found]
        while stop(x) is None:
            [row] = yield Ask(scorer, [x])
            x = x + row.argmax()
        return [x.written()]


def queue(
    scorer: Scorer,
    tokens: Sequence[int],
    window: int = 2,
    rounds: int | None = None,
    *,
    stop: Stop | None = None,
    rng: Rng | None = None,
) -> Decoder[list[int]]:
    """The queue of tokens after `rounds` rounds: each reads the first `window`, writes what the scorer says after them (up to
    the stop, whose own end token is left out) at the end, and drops the first. Ends earlier when fewer than `window` are left.

    `stop` is the end tokens of the scorer's vocabulary unless given. With a scorer that plays a rule table this is a Lag
    system, which can compute anything. Schuurmans et al. 2024 (arXiv 2410.03170). Raises `LimitExceeded` if it has not ended
    after 1000 rounds and no number was given.

    >>> import torch, espalier as es
    >>> ends = es.models.Table(3, 0, lambda context: torch.tensor([0.0, 0.0, 9.0]))  # says nothing
    >>> es.run(queue(ends, [0, 1, 1, 0], stop=es.stop.end([2])), queue(ends, [0, 1, 1, 0], 2, 1, stop=es.stop.end([2])))
    [[0], [1, 1, 0]]
    """
    require(window >= 1 and (rounds is None or rounds >= 1), "window and rounds are at least 1")
    if stop is None:
        require(
            scorer.vocab is not None and bool(scorer.vocab.end),
            "nothing says where what the scorer writes ends: its vocabulary has no end token; give stop=es.stop.end([2])",
        )
        assert scorer.vocab is not None
        stop = ended(scorer.vocab.end)
    line, rng = list(tokens), rng if rng is not None else Rng(0)
    for _ in range(1000 if rounds is None else rounds):
        if len(line) < window:
            return line
        x = yield from sample(scorer, Prefix(line[:window]), stop, rng)
        said = x.written()
        line = [*line[1:], *(said[:-1] if said and stop(x) == "stop" else said)]
    if rounds is None and len(line) >= window:
        raise LimitExceeded(f"the queue still has {len(line)} tokens after 1000 rounds; allow more, or it never ends")
    return line


@dataclass(frozen=True)
class Infill:
    """Self-infilling for models trained to fill in the middle: where the model is unsure, the suffix is written first.

    `sentinels` are the tokens (suffix, middle, end of text). While the most probable token has at least `tau` the prefix is
    written on; below that the suffix sentinel is written, then `begin` (how a suffix starts, such as "return"), then the
    suffix up to the stop, or to where the model ends it, then the middle sentinel, then the middle up to the end of text. The
    result is prefix + middle + suffix in reading order. With tau=0 it is plain greedy decoding. Zheng et al. 2023 (arXiv
    2311.17972).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=2, seed=0)
    >>> [[found]] = es.run(Infill((3, 4, 5), tau=0.9)(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> not {3, 4, 5} & set(found.prefix.written())
    True
    """

    sentinels: tuple[int, int, int]
    tau: float = 0.25
    begin: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        three = len(self.sentinels) == len(set(self.sentinels)) == 3
        require(three, f"sentinels={self.sentinels}: three different tokens: suffix, middle, end of text")
        require(0 <= self.tau <= 1, f"tau={self.tau}: a probability")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        suffix_mark, middle_mark, over = self.sentinels
        y, unsure = x, False
        while stop(y) is None:
            [row] = yield Ask(scorer, [y])
            token, chance = _best(row.probs(), self.sentinels if self.tau else ())
            if chance < self.tau:
                unsure = True
                break
            y = y + token
        if not unsure:
            return [Weighted(y)]
        prefix = y.written()
        z = _extended(y, [suffix_mark, *self.begin])
        suffix = yield from self._part(scorer, z, stop, (over, middle_mark))
        middle = yield from self._part(scorer, _extended(z, [*suffix, middle_mark]), stop, (over,))
        return [Weighted(_extended(x, [*prefix, *middle, *self.begin, *suffix]))]

    def _part(self, scorer: Scorer, y: Prefix, stop: Stop, ends: Sequence[int]) -> Decoder[list[int]]:
        """Greedy tokens up to one that ends the part, or until the stop says so of the part alone."""
        start = y.given([])
        z = start
        while stop(z) is None:
            [row] = yield Ask(scorer, [z])
            token, _ = _best(row.probs(), [mark for mark in self.sentinels if mark not in ends])
            if token in ends:
                break
            z = z + token
        return z.written()


def _best(probs: Tensor, without: Sequence[int]) -> tuple[int, float]:
    """The most probable token besides some, and its probability."""
    left = probs.clone()
    left[list(without)] = -1.0
    token = int(left.argmax())
    return token, float(probs[token])


def _extended(x: Prefix, tokens: Sequence[int]) -> Prefix:
    for token in tokens:
        x = x + token
    return x


def _shared(texts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens with which all texts begin."""
    shared: list[int] = []
    for column in zip(*texts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared
