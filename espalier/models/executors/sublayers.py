"""Which halves of which layers a part of a model runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from espalier.errors import InvalidInput, require

__all__ = ["Skipped", "Sublayers", "chosen", "left"]


@dataclass(frozen=True, slots=True)
class Sublayers:
    """A layer of the whole model, and which of its halves are run: attention, MLP or both."""

    layer: int
    attends: bool = True
    feeds: bool = True

    @property
    def whole(self) -> bool:
        """Whether both halves are run."""
        return self.attends and self.feeds


Skipped: TypeAlias = int | tuple[int, str]  # a layer, or ("attention" or "mlp" of) one


def left(layers: int, skip: Iterable[Skipped]) -> list[Sublayers]:
    """What is left of so many layers without `skip`: numbers of layers, or pairs (layer, "attention") and (layer, "mlp").

    Raises InvalidInput for what is neither, and if nothing is left.

    >>> left(3, {0, (2, "mlp")})
    [Sublayers(layer=1, attends=True, feeds=True), Sublayers(layer=2, attends=True, feeds=False)]
    """
    gone = set[tuple[int, str]]()
    for each in skip:
        layer, halves = each if isinstance(each, tuple) and len(each) == 2 else (each, "both")
        if not isinstance(layer, int) or halves not in ("both", "attention", "mlp") or not 0 <= layer < layers:
            raise InvalidInput(
                f"{each!r} cannot be skipped; write the number of a layer, 0 … {layers - 1}, or a half of one: "
                '(5, "attention") or (5, "mlp")'
            )
        gone |= {(layer, half) for half in (("attention", "mlp") if halves == "both" else (halves,))}
    kept = [Sublayers(at, (at, "attention") not in gone, (at, "mlp") not in gone) for at in range(layers)]
    kept = [each for each in kept if each.attends or each.feeds]
    require(bool(kept), f"all {layers} layers would be skipped; leave at least half of one")
    return kept


def chosen(layers: int, choice: Iterable[int | Sublayers]) -> list[Sublayers]:
    """The choice as sublayers. Raises InvalidInput unless they are of so many layers and at least one."""
    made = [each if isinstance(each, Sublayers) else Sublayers(each) for each in choice]
    if not made or not all(0 <= each.layer < layers for each in made):
        raise InvalidInput(f"layers {[each.layer for each in made]} must be a non-empty choice from 0 … {layers - 1}")
    return made
