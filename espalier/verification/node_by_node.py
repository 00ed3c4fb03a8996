"""Rules that go down a tree node by node, the law of a child, and the test of a draw."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Law
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.verification.verifier import Verifier


class NodeByNode(Verifier):
    """A rule that goes down the tree and decides at each node by what is known there: `choose` is all of it.

    At a leaf one token is drawn from the row; at a node that was drafted while the pass ran it ends, since there is no row yet.
    """

    @abstractmethod
    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        """A token, and whether it is an accepted child.

        `p`: the target's probabilities [V] after the node, in float64; `law`: what its children were drawn from, None if they
        were chosen; `tokens`: theirs, in the order in which they were proposed, at least one.
        """

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        node = 0
        while draft.has_row(node):
            x, tokens = draft.prefixes[node], draft.tokens(node)
            if not tokens:
                yield x + rows[node].draw(rng)
                return
            token, accepted = self.choose(rows[node].probs().double(), draft.laws.get(node), tokens, rng)
            if not accepted:
                yield x + token
                return
            node = draft.children[node][tokens.index(token)]
            yield draft.prefixes[node]


def drawn_from(law: Law | None, token: int, p: Tensor, elder: Sequence[int] = ()) -> Tensor:
    """q [V], from which a child was drawn after its elder siblings; for a child that was chosen, the law that always says it.

    >>> drawn_from(None, 1, torch.tensor([0.5, 0.5])).tolist()
    [0.0, 1.0]
    """
    if law is not None:
        return law.after(elder).to(p)
    q = torch.zeros_like(p)
    q[token] = 1
    return q


def one_by_one(p: Tensor, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
    """The first token that is accepted with the probability that p still gives it, else a draw from what remains."""
    p = p.clone()
    for y in dict.fromkeys(tokens):
        if rng.flip(float(p[y] / p.sum())):
            return y, True
        p[y] = 0
    return rng.categorical(p), False


def accept_or_redraw(p: Tensor, q: Tensor, y: int, rng: Rng) -> tuple[int, bool]:
    """y, a draw from q, with probability min(1, p(y)/q(y)), else a draw from the residual: either way a draw from p."""
    if rng.flip(float(p[y] / q[y])):
        return y, True
    return rng.categorical(residual(p, q)), False


def residual(p: Tensor, q: Tensor) -> Tensor:
    """norm((p - q)+), what a refused draw from q leaves of p; p itself where rounding leaves nothing of a residual.

    >>> residual(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).tolist()
    [0.0, 1.0]
    """
    rest = (p - q).clamp(min=0)
    total = rest.sum()
    return rest / total if bool(total > 0) else p
