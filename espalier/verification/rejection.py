"""Verification by rejection: a draft drawn from q is accepted with probability min(1, p/q), else the residual speaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Kind
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.verification.verifier import Verifier


class Rejection(Verifier):
    """The drawn chain as far as it is accepted, then one token of the residual, or of the last row if all was accepted.

    Guarantee: sampling, for chains drawn from the laws they carry: P(accept) = Σ min(p, q), the most that one draw allows.
    A node without a law (a deterministic choice) counts as drawn from a one-hot q, which is exact as well.
    Leviathan, Kalman, Matias 2023, "Fast inference from transformers via speculative decoding" (arXiv 2211.17192);
    Chen et al. 2023, "Accelerating large language model decoding with speculative sampling" (arXiv 2302.01318).
    """

    guarantee: ClassVar[Literal["greedy", "sampling", "lossy"]] = "sampling"
    accepts: ClassVar[frozenset[Kind]] = frozenset({"deterministic", "with replacement", "without replacement"})

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        node = 0
        while draft.children[node]:
            p, child = rows[node].probs(), draft.children[node][0]
            y = draft.token(child)
            q = draft.laws[node].q.to(p) if node in draft.laws else one_hot(y, p)
            if not rng.flip(float(p[y] / q[y])):
                yield draft.prefixes[node] + rng.categorical((p - q).clamp(min=0))
                return
            yield draft.prefixes[child]
            node = child
        yield draft.prefixes[node] + rows[node].draw(rng)


def one_hot(token: int, like: Tensor) -> Tensor:
    """The law [V] that always says `token`."""
    q = torch.zeros_like(like)
    q[token] = 1
    return q
