"""What decoders yield beside questions: prefixes that have settled, and rows of which they want a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espalier.prefix import Prefix
    from espalier.rng import Rng
    from espalier.rows import Row


@dataclass(frozen=True, slots=True, eq=False)
class Keep:
    """What a decoder yields when a prefix has settled: it will be part of the result. Answered with the prefix.

    `branch` is the number of the text that it belongs to, for decoders that write several: 0 is the one that is streamed.

    >>> import espalier as es
    >>> def echo(x, tokens):  # a decoder that asks nobody
    ...     for token in tokens:
    ...         x = yield Keep(x + token)
    ...     return x
    >>> [len(x) for x in es.settle(echo(es.Prefix([1]), [2, 3]))]
    [2, 3, 3]
    """

    prefix: Prefix
    branch: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What a decoder yields to have a token drawn from a row. Answered with the token, or with what `row.draw` raises.

    Guarantee: the token and the flips are those of `row.draw(rng)`. The rows of all decoders that wait for one are drawn by one
    call of a kernel and its threads.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> def one(x, rng):  # the token after x
    ...     [row] = yield es.Ask(model, [x])
    ...     return (yield Draw(row, rng))
    >>> len(es.run(*(one(es.Prefix([i]), es.Rng(i)) for i in range(3))))
    3
    """

    row: Row
    rng: Rng
