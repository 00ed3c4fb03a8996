"""The layer lens: the logits that the hidden state after any layer would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from espalier.capabilities import Extra
from espalier.errors import InvalidInput, require
from espalier.rows import Rows
from espalier.scorer import Model, Scorer, Wrapper
from espalier.shaping.extras import require_extra
from espalier.shaping.forks import unrestricted

LAYERS = frozenset({Extra.LAYERS})


class Lens(Wrapper):
    """A scorer with a look into the layers of its model, 0 (embeddings) to `count` (the last); `tied` if embedding and head
    are one matrix. Raises `InvalidInput` for a scorer whose model has no layers to read."""

    def __init__(self, scorer: Scorer, norm: bool, who: str) -> None:
        super().__init__(unrestricted(scorer, who))
        require_extra(scorer, Extra.LAYERS, who)
        model: Any = scorer
        while not isinstance(model, Model) and isinstance(getattr(model, "inner", None), Scorer):
            model = model.inner
        if not isinstance(model, Model) or not model.capabilities.lens or not model.capabilities.layers:
            raise InvalidInput(
                f"{who} reads the layers of one model, which {type(model).__name__} has not; use a transformer (es.load()) "
                "or a scorer around one"
            )
        self.model: Any = model
        self.count: int = model.capabilities.layers
        self.norm = norm
        self.tied = bool(getattr(getattr(model, "config", None), "tied", False))

    def chosen(self, layers: Sequence[int]) -> list[int]:
        """These layers, if each is one below the last."""
        wrong = [layer for layer in layers if not 0 <= layer < self.count]
        require(len(layers) > 0, f"layers={list(layers)}: name at least one layer, 0 (embeddings) to {self.count - 1}")
        require(not wrong, f"layer {wrong[:1]} is not below the last of {self.count}; use 0 (embeddings) to {self.count - 1}")
        return list(layers)

    def through(self, rows: Rows, layers: Sequence[int]) -> Tensor:
        """[N, len(layers), V] logits of these layers."""
        hidden = rows.extras[Extra.LAYERS][:, torch.tensor(layers, device=rows.logits.device)]
        flat = hidden.reshape(-1, hidden.shape[-1])
        logits: Tensor = self.model.read(flat) if self.norm else self.model.read(flat, norm=False)
        return logits.to(rows.logits).view(*hidden.shape[:2], -1)
