"""The models that such decoders need, found under shapers and constraints, or refused."""

from __future__ import annotations

from espalier.errors import InvalidInput
from espalier.models.transformer import Transformer
from espalier.scorer import Scorer
from espalier.soft_prefix import leaf

__all__ = ["embedding_model"]


def embedding_model(scorer: Scorer, who: str, gradients: bool = False) -> Transformer:
    """The model under a scorer, if it takes embeddings (and gives gradients, if they are needed).

    Raises `InvalidInput` otherwise, with what `who` needs and how to load it.
    """
    model = leaf(scorer)
    can = model.capabilities if model is not None else None
    if isinstance(model, Transformer) and can is not None and can.embeddings and (can.gradients or not gradients):
        return model
    needed = "gradients of input embeddings" if gradients else "a model that takes input embeddings"
    eager = "name, eager=True" if gradients else "name"
    raise InvalidInput(
        f"{who} needs {needed}, which {type(scorer if model is None else model).__name__} does not give; "
        f"load a transformer that runs on our executors: es.load({eager})"
    )
