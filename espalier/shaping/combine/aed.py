"""Alignment-enhanced decoding: where too many tokens compete, the model is asked what it would say without the prompt."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from espalier.engine import run
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper
from espalier.shaping.combine.guidance import Reprompted
from espalier.shaping.combine.reading import prefix_of, scorer_of, text_of
from espalier.shaping.forks import unrestricted
from espalier.shaping.truncate import top_p as nucleus

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


class aed(Wrapper):
    """(1 - c) · z(· | prompt) + c · z(· | `prompt=` and the answer alone), c = σ(S_o - S_a - bias · S): S_o and S_a are how
    many tokens hold the mass `top_p` in either stream, S the most that ever did over harmless prompts.

    The second stream never sees the user's prompt, so a prompt that talks the model out of its alignment does not reach it.
    Only the first `first` written tokens are shaped. S is `calibrate(prompts)`'s finding, or given as `size=`; without it the
    first row raises `InvalidInput`. Liu et al. 2024, "Alignment-enhanced decoding" (arXiv 2408.07663), the released rule.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=3, seed=0)
    >>> scorer = aed(model, es.Prefix([5]))
    >>> scorer.calibrate([es.Prefix([1, 2]), es.Prefix([3])])
    4
    >>> [x] = es.run(es.sample(scorer, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> len(x.written())
    3
    """

    def __init__(
        self,
        lm: LanguageModel | Scorer,
        prompt: str | Prefix = "Assistant:",
        bias: float = 1.0,
        top_p: float = 0.9,
        first: int = 30,
        size: int | None = None,
    ) -> None:
        require(0 < top_p <= 1, f"top_p={top_p}: a mass is more than 0 and at most 1; 0.9 is usual")
        require(first >= 0, f"first={first}: how many written tokens are shaped, from 0")
        require(size is None or size >= 1, f"size={size}: a number of tokens, at least 1")
        super().__init__(unrestricted(scorer_of(lm), "aed"))
        self.lm, self.bias, self.top_p, self.first, self.size = lm, bias, top_p, first, size
        self.other = Reprompted(self.inner, prompt if isinstance(prompt, Prefix) else Prefix(text_of(lm, prompt)))

    def calibrate(self, prompts: Sequence[str | Prefix]) -> int:
        """The most tokens that hold the mass `top_p` of the row after any of some harmless prompts; kept as `size`."""
        require(len(prompts) > 0, "calibrate() needs harmless prompts, ten or so")
        [rows] = run(self._ask([prefix_of(self.lm, prompt) for prompt in prompts]))
        self.size = int(self._sizes(rows.logits).max())
        return self.size

    def _ask(self, prefixes: Sequence[Prefix]) -> Generator[Ask, Any, Rows]:
        return (yield Ask(self.inner, prefixes))  # type: ignore[no-any-return]

    def _sizes(self, logits: Tensor) -> Tensor:
        kept = nucleus(self.top_p)(torch.log_softmax(logits, -1), [])
        return (kept > -torch.inf).sum(-1)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        if self.size is None:
            raise InvalidInput("aed has no measure of how many tokens compete in harmless texts; call calibrate(prompts) first")
        early = [i for i, x in enumerate(prefixes) if len(x) - len(x.origin) < self.first]
        if not early:
            return (yield Ask(self.inner, prefixes, want))  # type: ignore[no-any-return]
        rows, others = yield Ask(self.inner, prefixes, want), Ask(self.other, [prefixes[i] for i in early])
        own, other = rows.logits[early], others.logits.to(rows.logits)
        doubt = (self._sizes(own) - self._sizes(other)).to(own.dtype) - self.bias * self.size
        c = torch.sigmoid(doubt)[:, None]
        mixed = (1 - c) * torch.log_softmax(own, -1) + c * torch.log_softmax(other, -1)
        at = torch.tensor(early, device=own.device)
        return rows.with_logits(rows.logits.index_copy(0, at, mixed.to(rows.logits)))  # type: ignore[no-any-return]
