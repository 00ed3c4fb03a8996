"""Models that cannot follow a tree of prefixes: every path of a draft from the root to a leaf is one row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import torch
from torch import Tensor

from espalier.capabilities import Capabilities
from espalier.errors import ContextOverflow, InvalidInput, LoadError, require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Model

Forward: TypeAlias = Callable[[Tensor], Tensor]


class Paths(Model):
    """A model given by a causal function of whole texts: token ids [B, T] → logits [B, T, V], row by row.

    The paths from the root to each leaf of what is asked are the rows of one batch, filled up on the right (what comes later
    changes nothing before it, since the function is causal), and a prefix that lies on the way to another is read there. So
    drafts, beams and batches work on models whose state cannot be shared between the branches of a tree: recurrent layers,
    attention of their own, a function somewhere else. Nothing is kept from pass to pass: a pass reads whole texts, and drafts
    pay by fewer passes. Rows are equal up to the rounding of other batch shapes, so `invariant` is False.

    `context` is the longest text that the function takes. Raises InvalidInput if logits of another shape come back.

    >>> import espalier as es
    >>> model = Paths(lambda ids: torch.nn.functional.one_hot((ids + 1) % 5, 5).float(), vocab_size=5)
    >>> [x] = es.run(es.sample(model | es.temperature(0), Prefix([2]), es.stop.budget(4), es.Rng(0)))
    >>> x.written()
    [3, 4, 0, 1]
    """

    invariant = False

    def __init__(self, forward: Forward, vocab_size: int, context: int = 1 << 30, device: torch.device | str = "cpu") -> None:
        require(vocab_size >= 1, f"vocab_size={vocab_size}: how many tokens the function's logits are over")
        self._forward, self.vocab_size, self.context, self.device = forward, vocab_size, context, torch.device(device)

    @classmethod
    def of(cls, model: Any) -> Paths:
        """A transformers causal language model, called as it is; for those that `models.hf` cannot run on a tree.

        Raises LoadError for one whose answers depend on what comes later, or on what else is in the batch.
        """
        config = model.config.get_text_config()
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
        context = next((int(limit) for limit in limits if limit), 1 << 30)
        with suppress(ValueError, TypeError, AttributeError):  # recurrent models have no attention to choose
            model.set_attn_implementation("eager")

        def forward(ids: Tensor) -> Tensor:
            logits: Tensor = model(input_ids=ids, use_cache=False).logits
            return logits

        model.eval()
        paths = cls(forward, int(config.vocab_size), context, model.device)
        x, y = Prefix([3, 1, 4, 1, 5]), Prefix([2, 7, 1, 8, 2, 8, 1, 8])
        alone, beside = (paths.forward(asked, frozenset()).logits[0].float() for asked in ([x], [x, x + 9, y]))
        if not float((alone - beside).abs().max()) <= (1e-3 if model.dtype == torch.float32 else 0.1) * float(
            1 + alone.abs().max()
        ):
            raise LoadError(f"{type(model).__name__} answers otherwise for a text when more follows it or others lie beside it")
        return paths

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(trees=False)

    @torch.no_grad()
    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Rows:
        if want:
            raise InvalidInput(
                f"this model gives logits only, not {sorted(want)}; use a drafter or a verifier that reads tokens"
            )
        for x in prefixes:
            if not 0 < len(x) <= self.context:
                raise (ContextOverflow if len(x) else InvalidInput)(
                    f"{len(x)} tokens were given; between 1 and {self.context} fit"
                )
        leaf = _leaves(prefixes)
        place = {x: row for row, x in enumerate(dict.fromkeys(leaf.values()))}
        texts = [x.ids() for x in place]
        ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text)] = torch.tensor(text)
        highest, lowest = int(ids.max()), int(ids.min())
        require(
            0 <= lowest <= highest < self.vocab_size, f"tokens {lowest} … {highest} are not all among the {self.vocab_size}"
        )
        logits = self._forward(ids.to(self.device))
        if logits.shape != (*ids.shape, self.vocab_size):
            raise InvalidInput(
                f"the function gave {tuple(logits.shape)} for ids {tuple(ids.shape)}; give [B, T, {self.vocab_size}]"
            )
        return Rows(torch.stack([logits[place[leaf[x]], len(x) - 1] for x in prefixes]), prefixes)


def _leaves(prefixes: Sequence[Prefix]) -> dict[Prefix, Prefix]:
    """For each prefix one of the deepest that are asked about on a path through it: itself, if nothing below it is asked."""
    leaf: dict[Prefix, Prefix] = {}
    for x in sorted(prefixes, key=len, reverse=True):
        if x not in leaf:
            for node in x.up():
                leaf.setdefault(node, x)
    return {x: leaf[x] for x in prefixes}
