"""Shapers of the end token: texts that end sooner, and texts that are sure to end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage
from espalier.shaping.row_history import RowHistory
from espalier.text.vocab import Vocab


class end_decay(Shaper):
    """Raises the logits of end tokens after `start` written tokens: z += |z| · (factor^(t - start) - 1) after t tokens.

    factor > 1 ends texts sooner. The rule reads raw logits, so it changes when a constant is added to a row. `end`: the tokens
    that end a text; left out, those of the scorer's vocabulary. (The rule of transformers' ExponentialDecayLengthPenalty.)

    >>> x = Prefix([0]) + 1 + 1
    >>> end_decay(1, 2.0, end=[2])(torch.ones(1, 3), [x]).tolist()
    [[1.0, 1.0, 2.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, start: int, factor: float, end: Iterable[int] | None = None) -> None:
        require(start >= 0, f"start={start}: a number of written tokens, from 0")
        require(0 < factor < math.inf, f"factor={factor}: a positive number; 1 changes nothing, 1.05 ends texts sooner")
        self.start, self.factor, self.end = start, factor, None if end is None else frozenset(end)

    def bound(self, vocab: Vocab | None) -> Shaper:
        return self if self.end is not None else end_decay(self.start, self.factor, ends(vocab, "end_decay(start, factor)"))

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        at = torch.tensor(sorted(known(self.end)), device=weights.device)
        over = torch.tensor([max(0, len(x) - len(x.origin) - self.start) for x in prefixes], device=weights.device)
        z = weights[:, at]
        amount = z.abs() * (self.factor ** over[:, None].to(weights.dtype) - 1)
        return weights.index_add(-1, at, torch.where(z > -torch.inf, amount, 0.0))


class self_terminating(RowHistory[float, float]):
    """Rows under which every text ends: p(end) = σ(z) + (1 - (1 - ε)^t) (1 - σ(z)) for the t-th token, z the end's logit.

    The other tokens share the rest as before. Guarantee: p(end) ≥ 1 - (1 - ε)^t, so whoever keeps the most probable token ends
    once (1 - ε)^t < 1/2, whatever the model says. `monotone=True` is the older form, p(end) = 1 - Π_{s ≤ t} β_s with
    β = (1 - ε) σ(z), where z speaks for going on, as it does in models trained in this form. For a model that was trained in
    neither write `relative=True`: z is then measured against the other tokens, so that σ(z) is the model's own p(end) (and
    1 - p(end) in the monotone form), and ε = 0 leaves the first form as it is. Choi et al. 2023, "A non-monotonic
    self-terminating language model" (arXiv 2210.00660); Welleck et al. 2020 (arXiv 2002.02492).

    >>> rule, x = self_terminating(0.5, end=[1]), Prefix([0])
    >>> rule(torch.tensor([[0.0, -99.0]]), [x]).exp()
    tensor([[0.5000, 0.5000]])
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(
        self, epsilon: float = 1e-4, monotone: bool = False, relative: bool = False, end: Iterable[int] | None = None
    ) -> None:
        super().__init__()
        require(0 <= epsilon < 1, f"epsilon={epsilon}: a share from 0 and below 1; 1e-5 to 1e-3 are usual")
        self.epsilon, self.monotone, self.relative = epsilon, monotone, relative
        self.end = None if end is None else frozenset(end)

    def bound(self, vocab: Vocab | None) -> Shaper:
        if self.end is not None:
            return self
        return self_terminating(self.epsilon, self.monotone, self.relative, ends(vocab, "self_terminating(epsilon)"))

    def begin(self, x: Prefix) -> float:
        return 0.0  # log Π β for the monotone form, t · log(1 - ε) for the other

    def step(self, state: float, token: int, note: float) -> float:
        return note

    def unseen(self, prefixes: Sequence[Prefix]) -> list[Prefix]:
        return super().unseen(prefixes) if self.monotone else []

    def state(self, x: Prefix) -> float:
        if self.monotone:
            return super().state(x)
        return (len(x) - len(x.origin)) * math.log1p(-self.epsilon)

    def shape(self, row: Tensor, state: float) -> tuple[Tensor, float]:
        at = torch.tensor(sorted(known(self.end)), device=row.device)
        z = torch.logsumexp(row[at].double(), -1)
        rest = torch.log_softmax(row.double().index_fill(0, at, -torch.inf), -1)
        if self.relative:
            z = z - torch.logsumexp(row.double().index_fill(0, at, -torch.inf), -1)
            z = -z if self.monotone else z
        log_beta = torch.nn.functional.logsigmoid(z if self.monotone else -z)
        note = state + math.log1p(-self.epsilon) + (float(log_beta) if self.monotone else 0.0)
        going_on = note if self.monotone else note + float(log_beta)
        ending = math.log(-math.expm1(going_on)) if going_on < 0 else -math.inf
        shaped = rest + going_on
        shaped[at] = torch.log_softmax(row[at].double(), -1) + ending
        return shaped.to(row.dtype), note


def ends(vocab: Vocab | None, who: str) -> frozenset[int]:
    """The end tokens of a vocabulary. Raises `InvalidInput` if it names none."""
    if vocab is None or not vocab.end:
        raise InvalidInput(f"{who} works on end tokens, but this scorer says of none that it ends a text; give end=[token]")
    return vocab.end


def known(end: frozenset[int] | None) -> frozenset[int]:
    """The end tokens. Raises `InvalidInput` if they are not known yet."""
    if end is None:
        raise InvalidInput("which tokens end a text is not known here; write scorer | shaper, or give end=[token]")
    return end
