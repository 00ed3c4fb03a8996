"""What a model can give besides rows, and what may be asked of it: checked when a decoder is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from espalier.errors import InvalidInput


class Extra(StrEnum):
    """What a pass can give besides logits; a member is equal to its name, so `want={"hidden"}` works too.

    HIDDEN [N, D]: the last residual stream, after the final norm. LAYERS [N, L + 1, D]: the residual stream before the
    first and after every layer, not normed. ATTENTION [N, T]: attention to the positions of
    what was given (up to each prefix's origin, 0 behind it), averaged over heads and layers.

    >>> Extra.HIDDEN == "hidden", sorted({Extra.LAYERS, "hidden"})
    (True, ['hidden', <Extra.LAYERS: 'layers'>])
    """

    HIDDEN = "hidden"
    LAYERS = "layers"
    ATTENTION = "attention"


@dataclass(frozen=True)
class Capabilities:
    """What a model can do, said by the model itself.

    `extras`: what a pass can give besides rows. `hidden`, `layers`: the width D and the number L of layers, None if there
    are none to speak of. `partial`: some of its layers alone are a model (`model.partial(layers)`). `lens`: hidden states of
    any layer become logits (`model.read(hidden)`). `rounded`: it has a copy of itself in fewer bits
    (`model.quantised(kv_bits)`). `trees`: a tree of prefixes costs one row per node. `invariant`: a row is the same to the
    last bit whatever else is in the pass. `embeddings`: takes embeddings for tokens (`es.Soft`, `Ask(…, embeds=…)`), which
    `model.embed(tokens)` makes. `gradients`: rows are differentiable in them, and in keys and values that are given.
    `chunked`: a prompt is read in pieces (`model.prefill(x, rows)`). `shared`: parts read its keys and values where they lie
    (`model.sharing(layers)`); `sublayers`: attention and MLP of a layer may be left out apart; `exits`: it goes on from where
    an early exit has come to (`model.exit(layer)`); `levels`: it keeps its
    keys and values in two levels, of which a draft reads one (`model.upper()`).

    >>> import espalier as es
    >>> es.models.Table.random(vocab_size=4, depth=1, seed=0).capabilities.trees
    True
    """

    extras: frozenset[str] = field(default_factory=frozenset[str])
    hidden: int | None = None
    layers: int | None = None
    partial: bool = False
    lens: bool = False
    rounded: bool = False
    trees: bool = True
    invariant: bool = False
    embeddings: bool = False
    gradients: bool = False
    chunked: bool = False
    shared: bool = False
    sublayers: bool = False
    exits: bool = False
    levels: bool = False


def check_rows(rows: Any, name: str, count: int, vocab_size: int) -> None:
    """Raise `InvalidInput` unless what the model of this name returned is `count` rows over its vocabulary."""
    logits = getattr(rows, "logits", None)
    if logits is None or len(rows) != count or tuple(logits.shape) != (count, vocab_size):
        found = repr(rows)[:200] if logits is None else f"{len(rows)} rows {list(logits.shape)}"
        wanted = f"Rows(logits, prefixes) with logits [{count}, {vocab_size}]"
        raise InvalidInput(f"{name}.forward returned {found} for {count} prefixes; return {wanted}")
