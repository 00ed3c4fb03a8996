"""Hidden-state optimisation: reading a text while gradients of what was read change the keys and values that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.decoders.soft.models import embedding_model
from espalier.engine import run
from espalier.errors import expect, require
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.run import Decoder
from espalier.scorer import Ask
from espalier.soft_prefix import Soft

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


@dataclass(frozen=True)
class Adapted:
    """What reading a text with changing keys and values gave, window by window: the negative log-likelihood of its tokens when
    it was first read (`nll`), and read again after the steps that it caused (`after`).

    >>> Adapted([3.0, 2.0], [3.0, 1.5], [7, 8, 9]).total
    5.0
    """

    nll: list[float]
    after: list[float]
    tokens: list[int]

    @property
    def total(self) -> float:
        """The negative log-likelihood of the text, from its second token on; a window teaches only those after it."""
        return sum(self.nll)


@dataclass
class _Cache:
    """Keys and values [L, T, width] of what was read, and Adam's moments of each entry."""

    parts: tuple[Tensor, Tensor]
    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    made: int = 0

    def grown(self, parts: tuple[Tensor, Tensor]) -> _Cache:
        """With the keys and values of what was read since; their moments are 0."""
        more = parts[0].shape[1] - self.parts[0].shape[1]
        first, second = (tuple(F.pad(m, (0, 0, 0, more)) for m in moments) for moments in (self.first, self.second))
        return _Cache(parts, first, second, self.made)  # type: ignore[arg-type]

    def stepped(self, gradients: Sequence[Tensor], rate: float) -> _Cache:
        """After one step of Adam (Kingma and Ba 2014, 1412.6980)."""
        made = self.made + 1
        first = tuple(0.9 * m + 0.1 * g for m, g in zip(self.first, gradients, strict=True))
        second = tuple(0.999 * m + 0.001 * g * g for m, g in zip(self.second, gradients, strict=True))
        moved = tuple(
            (p.detach() - rate * (m / (1 - 0.9**made)) / ((s / (1 - 0.999**made)).sqrt() + 1e-8))
            for p, m, s in zip(self.parts, first, second, strict=True)
        )
        return _Cache(moved, first, second, made)  # type: ignore[arg-type]


def optimise_hidden(lm: LanguageModel, text: str, steps: int = 1, *, window: int = 32, rate: float = 1e-3) -> Adapted:
    """The likelihood of a text whose kept keys and values are changed by `steps` Adam steps behind each `window` of tokens.

    The gradient is that of the window's negative log-likelihood in the keys and values of all that was read before it; the
    weights stay. `steps=0` reads the text as it is. Needs the eager executor; each step reads all text so far once more. HSO
    (arXiv 2112.08653, 2021). Raises `InvalidInput` for a model without gradients, and for a text of one token.

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> es.decoders.optimise_hidden(lm, "Once upon a time", steps=1).total  # doctest: +SKIP
    """
    expect(steps, int, "steps", "a whole number")
    expect(window, int, "window", "a whole number of tokens")
    require(steps >= 0, f"steps={steps}: at least 0, which changes nothing")
    require(window >= 2, f"window={window}: at least 2 tokens")
    require(rate > 0, f"rate={rate}: the size of a step, above 0")
    model = embedding_model(lm.scorer, "optimise_hidden", gradients=True)
    ids = lm.tokenizer.encode(text)
    require(len(ids) >= 2, f"the text {text[:40]!r} has {len(ids)} tokens; at least 2 are needed")
    [found] = run(_read(model, ids, steps, window, rate))
    return found


def _read(model: Transformer, ids: list[int], steps: int, window: int, rate: float) -> Decoder[Adapted]:
    first = Prefix(ids[:1])
    last, loss = yield from _window(model, first, ids[1:window])
    nll, after = [float(loss)], [float(loss)]
    keys, values = model.cached(last)
    zeros = (torch.zeros_like(keys), torch.zeros_like(values))
    cache = _Cache((keys, values), zeros, zeros)
    for start in range(window, len(ids), window):
        tokens = ids[start : start + window]
        for made in range(steps + 1):
            parts = tuple(part.detach().requires_grad_(made < steps) for part in cache.parts)
            last, loss = yield from _window(model, Soft(tokens=ids[:start], cache=parts), tokens)  # type: ignore[arg-type]
            if made == 0:
                nll.append(float(loss.detach()))
            if made < steps:
                cache = cache.stepped(torch.autograd.grad(loss, parts), rate)
        after.append(float(loss.detach()))
        cache = cache.grown(model.cached(last))
    return Adapted(nll, after, ids)


def _window(model: Transformer, x: Prefix, tokens: list[int]) -> Decoder[tuple[Prefix, Tensor]]:
    """The prefix after x and the tokens, all of it computed, and the negative log-likelihood of the tokens."""
    nodes = [x]
    for token in tokens:
        nodes.append(nodes[-1] + token)
    rows = yield Ask(model, nodes)
    logp = torch.log_softmax(rows.logits[:-1], -1)
    loss: Tensor = -logp[torch.arange(len(tokens)), torch.tensor(tokens, dtype=torch.long)].sum()
    return nodes[-1], loss
