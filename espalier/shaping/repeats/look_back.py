"""Look-back: where the row resembles an earlier one, a token is drawn that leads back to the topic of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Scorer, Wrapper
from espalier.shaping.forks import Forks, unrestricted
from espalier.shaping.positions import Positions
from espalier.shaping.scores import NEVER, candidates

_TOP = 256  # tokens of an earlier row that are remembered, the others share the rest of its mass alike


@dataclass(frozen=True, slots=True)
class Sketch:
    """An earlier row: its most probable tokens, and the log-probability of every other token."""

    tokens: Tensor
    logps: Tensor
    other: float


@dataclass(frozen=True, slots=True)
class Past:
    """The sketches of the last rows, this one's included, and of the rows inside the prompt."""

    last: tuple[Sketch, ...] = ()
    prompt: tuple[Sketch, ...] = ()


class look_back(Wrapper):
    """The most probable token, unless the row is within `alpha` nats (KL) of one of the last `window` rows: then the text is
    about to repeat itself, and one of the k most probable tokens v is drawn, with weight exp(-KL(row after v ‖ rows of the
    prompt)), the nearest of these.

    k rows are asked about ahead only then, in one pass, and the chosen one's is kept. Of earlier rows the 256 most probable
    tokens are remembered (rows of at most 256 tokens exactly), of the prompt its last `window` rows. A negative alpha is
    greedy. Xu et al. 2023, "Look-back decoding for open-ended text generation" (arXiv 2305.13477).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=1, seed=0)
    >>> scorer = look_back(model, alpha=0.5, k=3)
    >>> [x] = es.run(es.sample(scorer, es.Prefix([1, 2]), es.stop.budget(6), es.Rng(0)))
    >>> len(x.written())
    6
    """

    def __init__(self, scorer: Scorer, alpha: float = 1.0, k: int = 8, window: int = 128) -> None:
        require(alpha == alpha, "alpha is not a number; 0.5 to 1.6 nats are usual")
        require(k >= 1, f"k={k}: at least one candidate; 5 to 10 are usual")
        require(window >= 1, f"window={window}: at least one earlier row must be compared; 128 is usual")
        super().__init__(unrestricted(scorer, "look_back"))
        self.alpha, self.k, self.window = alpha, k, window
        self._forks = Forks(scorer)
        self._texts: Positions[Sketch, Past] = Positions(self._forks, frozenset(), self._take, self._add)

    def _take(self, rows: Rows, i: int) -> Sketch:
        logps, tokens = torch.log_softmax(rows.logits[i], -1).topk(min(_TOP, self.vocab_size))
        outside = self.vocab_size - len(tokens)
        mass = max(1 - float(logps.double().exp().sum()), 1e-12)
        other = float(torch.tensor(mass / outside).log()) if outside else 0.0
        return Sketch(tokens, logps.clamp(min=-NEVER), other)

    def _add(self, state: Past | None, taken: Sketch, node: Prefix) -> Past:
        state = state or Past()
        last = (*state.last, taken)[-self.window - 1 :]
        return Past(last, (*state.prompt, taken)[-self.window :] if node is node.origin else state.prompt)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield from self._texts.read(prefixes, want)
        logps = torch.log_softmax(rows.logits, -1)
        near = [i for i, x in enumerate(prefixes) if self._repeats(logps[i], self._texts[x])]
        top = logps.topk(min(self.k, self.vocab_size), -1).indices
        ahead = yield from self._forks.ahead([prefixes[i] for i in near], [top[i].tolist() for i in near])
        shaped = []
        for i, x in enumerate(prefixes):
            if i not in near:
                shaped.append(candidates(logps[i], top[i, :1], logps.new_zeros(1)))
                continue
            after = [torch.log_softmax(logits, -1) for logits, _ in ahead[near.index(i)]]
            back = [-self._nearest(row, self._texts[x].prompt) for row in after]
            shaped.append(candidates(logps[i], top[i], logps.new_tensor(back)))
        return rows.with_logits(torch.stack(shaped))

    def _repeats(self, logp: Tensor, past: Past) -> bool:
        return len(past.last) > 1 and self._nearest(logp, past.last[:-1]) <= self.alpha

    def _nearest(self, logp: Tensor, rows: Sequence[Sketch]) -> float:
        """The least KL divergence of a row from earlier ones."""
        p = logp.exp()
        tokens, theirs = torch.stack([row.tokens for row in rows]), torch.stack([row.logps for row in rows])
        inside = p[tokens]
        other = torch.tensor([row.other for row in rows], dtype=p.dtype, device=p.device)
        crossed = (inside * theirs).sum(-1) + (1 - inside.sum(-1)).clamp(min=0) * other
        return float((torch.special.xlogy(p, p).sum() - crossed).amin())
