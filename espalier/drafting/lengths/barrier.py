"""A question without content: whoever asks it goes on when all that asked in the same turn do."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Model


class Meeting(Model):
    """Where the requests of a batch meet between two rounds: it answers all of a turn together, with nothing.

    What a round reports to a shared policy is complete when the first of its requests goes on, since one pass of the target
    serves them all and the loop resumes them all before it asks anything else.

    >>> Meeting().forward([Prefix([1]), Prefix([2])], frozenset()).logits.tolist()
    [[0.0], [0.0]]
    """

    vocab_size = 1
    invariant = True
    gathers = True

    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Rows:
        return Rows(torch.zeros(len(prefixes), 1), prefixes)
