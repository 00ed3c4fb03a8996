"""Judging drafts: a linear head on the target's hidden states says whether a token is a good way to go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from espalier.drafting.draft import Draft
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.verification.verifier import Guarantee, Verifier


class Judge(Verifier):
    """The path of tokens that the target draws itself or that the judge passes, then the target's own token.

    At each node one token is drawn from p; if a child has it, it is followed. Else the first child that p allows at all and
    whose hidden state h gives sigmoid(w·h + b) above `threshold` is. Lossy; a judge that passes nothing makes it
    `SampleMatch`. Bachmann et al. 2025, "Judge decoding" (arXiv 2501.19309).

    >>> judge = Judge.fit(torch.tensor([[2.0], [1.0], [-1.0], [-2.0]]), torch.tensor([True, True, False, False]))
    >>> judge.passes(torch.tensor([[3.0], [-3.0]])).tolist()
    [True, False]
    """

    guarantee: ClassVar[Guarantee] = "lossy"
    want = frozenset({"hidden"})

    def __init__(self, weight: Tensor, bias: float = 0.0, threshold: float = 0.5) -> None:
        require(weight.dim() == 1, f"weight has shape {tuple(weight.shape)}: the judge is one row [D], D the hidden size")
        require(0 <= threshold <= 1, f"threshold={threshold}: it is a probability, between 0 and 1")
        self.weight, self.bias, self.threshold = weight, bias, threshold

    @classmethod
    def fit(cls, hidden: Tensor, good: Tensor, errors_weigh: float = 4.0, decay: float = 1e-3, threshold: float = 0.5) -> Judge:
        """The judge fitted to hidden states [N, D] of tokens that are good continuations (`good` [N], bool) or not.

        Logistic regression in float64, with `decay`·|w|² against growth and errors counted `errors_weigh` times, since passing
        a wrong token costs more than refusing a right one. The result is the same for the same data.
        """
        require(hidden.dim() == 2 and good.shape == hidden.shape[:1], "fit needs hidden [N, D] and good [N], one label per row")
        require(bool(good.any()) and not bool(good.all()), "fit needs good and bad examples; there is only one kind here")
        x, y = hidden.double(), good.double()
        w = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
        cost = torch.where(good, 1.0, errors_weigh).double()
        search = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            search.zero_grad()
            errors = torch.nn.functional.binary_cross_entropy_with_logits(x @ w[:-1] + w[-1], y, cost)
            total = errors + decay * w[:-1].square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        search.step(loss)  # type: ignore[no-untyped-call]
        fitted = w.detach()
        return cls(fitted[:-1], float(fitted[-1]), threshold)

    def passes(self, hidden: Tensor) -> Tensor:
        """Which of N hidden states [N, D] are those of good tokens: bool [N]."""
        return torch.sigmoid(hidden.to(self.weight) @ self.weight + self.bias) > self.threshold

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        good = self._good(rows)
        node = 0
        while draft.has_row(node):
            x, row = draft.prefixes[node], rows[node]
            p, token = row.probs(), row.draw(rng)
            tokens = dict(zip(draft.tokens(node), draft.children[node], strict=True))
            passed = [y for y, child in tokens.items() if draft.has_row(child) and good[child] and p[y] > 0]
            chosen = token if token in tokens or not passed else passed[0]
            if chosen not in tokens:
                yield x + chosen
                return
            node = tokens[chosen]
            yield draft.prefixes[node]

    def _good(self, rows: Rows) -> list[bool]:
        hidden = rows.extras.get("hidden")
        if hidden is None:
            raise InvalidInput(
                "Judge reads the target's hidden states, but this model gives none; use a model of espalier.models that does, "
                "or a verifier that needs only probabilities, such as es.verification.SampleMatch()"
            )
        require(
            hidden.shape[-1] == len(self.weight),
            f"the judge was made for hidden states of size {len(self.weight)}, this model's have {hidden.shape[-1]}",
        )
        return [bool(passed) for passed in self.passes(hidden)]
