"""Scorers of two streams: the same written text after another prompt, and guidance away from what it would say there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.scorer import Scorer
from espalier.shaping.combine.mixture import Mixture
from espalier.shaping.combine.reading import prefix_of, scorer_of
from espalier.shaping.second_stream import SecondStream, twins

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


class Reprompted(SecondStream):
    """The rows of a scorer after what was written, had the prompt been another one.

    For each prefix it keeps the prefix of the second stream, as long as the first lives: forks share it, and what is rolled
    back is forgotten with it. Later given tokens (the next turn of a chat) are given to both streams.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> other = Reprompted(model, Prefix([3, 3]))
    >>> other.prefix(Prefix([1, 2]) + 0).ids()
    [3, 3, 0]
    """

    def __init__(self, inner: Scorer, prompt: Prefix) -> None:
        require(len(prompt) > 0, "the second prompt is empty; a model needs something to go on from, its first token at least")
        super().__init__(inner, twins(lambda root: prompt))


def guidance(scorer: LanguageModel | Scorer, negative: str | Prefix, scale: float = 1.5) -> Scorer:
    """Classifier-free guidance: log p(v | negative) + scale · (log p(v | x) - log p(v | negative)), renormalised.

    `negative` is the prompt without what is to be stressed (or with its opposite), a text only with a language model in place
    of a scorer; both streams are rows of one pass.
    scale = 1 is the scorer itself. A token that p(· | x) excludes stays excluded. Since it is a scorer, drafts, beams and
    constraints work on it as on any other. Sanchez et al. 2023, "Stay on topic with classifier-free guidance" (arXiv
    2306.17806).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> x = es.Prefix([0, 1])
    >>> [y] = es.run(es.sample(guidance(model, es.Prefix([2]), 1.0), x, es.stop.budget(3), es.Rng(0)))
    >>> [z] = es.run(es.sample(model, x, es.stop.budget(3), es.Rng(0)))
    >>> y.ids() == z.ids()
    True
    """
    require(0 <= scale < float("inf"), f"scale={scale}: it is a number from 0; 1 changes nothing, 1.5 stresses the prompt")

    own_scorer = scorer_of(scorer)

    def combine(streams: list[Tensor]) -> Tensor:
        own, other = streams
        other = torch.where(other == -torch.inf, own, other)
        return torch.where(own == -torch.inf, own, other + scale * (own - other))

    return Mixture([own_scorer, Reprompted(own_scorer, prefix_of(scorer, negative))], combine)
