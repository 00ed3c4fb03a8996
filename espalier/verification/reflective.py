"""Reflective verification: the target reads the draft, is asked to check it, and its second thoughts count as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch

from espalier.drafting.draft import Draft
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.verification.verifier import Guarantee, Verifier


class Reflective(Verifier):
    """The chain of first children as far as a draw from (1 - w) p + w r follows it, then that draw.

    r is what the target says at the same place of a copy of the draft that it writes after the draft and `prompt`, a request
    to check it; the copies are scored in the same pass (`asides`) and forgotten after it. r is limited to the tokens to which
    p gives any probability, so no constraint or truncation is broken. Lossy, since r knows the draft; w = 0 is `SampleMatch`
    on the chain, and after the draft p speaks alone. Wang et al. 2025, "Think before you accept: semantic reflective
    verification for faster speculative decoding" (arXiv 2505.18629).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tokens=3), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, Reflective(prompt=[2, 1]), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "lossy"

    def __init__(self, prompt: Sequence[int], weight: float = 0.3) -> None:
        require(0 <= weight <= 1, f"weight={weight}: the share of the second thoughts is between 0 and 1; 0 leaves them out")
        self.prompt, self.weight = tuple(prompt), weight

    def asides(self, draft: Draft) -> Sequence[Prefix]:
        chain = _chain(draft)
        if len(chain) == 1 or not self.weight:
            return ()
        copies = [draft.prefixes[chain[-1]].given(self.prompt)]
        for node in chain[1:-1]:
            copies.append(copies[-1].given([draft.token(node)]))
        return copies

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        chain, first = _chain(draft), draft.scored if draft.scored is not None else len(draft.prefixes)
        for depth, node in enumerate(chain):
            x = draft.prefixes[node]
            if depth == len(chain) - 1 or not self.weight:
                token = rows[node].draw(rng)
            else:
                p = rows[node].probs().double()
                second = torch.softmax(rows.logits[first + depth].double(), -1) * (p > 0)
                second = second / second.sum() if bool(second.sum() > 0) else p
                token = rng.categorical((1 - self.weight) * p + self.weight * second)
            follows = depth + 1 < len(chain) and draft.token(chain[depth + 1]) == token
            yield draft.prefixes[chain[depth + 1]] if follows else x + token
            if not follows:
                return


def _chain(draft: Draft) -> list[int]:
    """The first children from the root down, as far as the target's pass scored them."""
    nodes = [0]
    while draft.children[nodes[-1]] and draft.has_row(draft.children[nodes[-1]][0]):
        nodes.append(draft.children[nodes[-1]][0])
    return nodes
