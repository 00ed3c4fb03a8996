"""Log-probabilities of a prompt's own tokens, read in pieces so that a long prompt does not hold up others."""

from __future__ import annotations

from espalier.prefix import Prefix
from espalier.requests.completion import LogProb
from espalier.rows import Rows
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer


def prompt_scores(scorer: Scorer, tokens: list[int], top: int = 0, rows: int = 64) -> Decoder[list[LogProb]]:
    """The decoder that scores a prompt's tokens behind the first, with the `top` best in place of each; `rows` a turn.

    Law: the i-th is log p(token i + 1 | the tokens before it) in the scorer's own rows.

    >>> import math, espalier as es
    >>> model = es.models.Table.random(vocab_size=2, depth=2, seed=0)
    >>> found = [es.run(prompt_scores(model, [0, token]))[0][0] for token in (0, 1)]
    >>> round(sum(map(math.exp, found)), 12)
    1.0
    """
    found: list[LogProb] = []
    x = Prefix(tokens[:1])
    for first in range(1, len(tokens), rows):
        part = tokens[first : first + rows]
        asked = [x]
        for token in part[:-1]:
            asked.append(asked[-1] + token)
        answer: Rows = yield Ask(scorer, asked)
        for row, token in zip(answer, part, strict=True):
            found.append(LogProb(row.logp(token), tuple(row.top(top)) if top else ()))
        x = asked[-1] + part[-1]
    return found
