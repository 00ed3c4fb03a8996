"""What shaped scorers need of a model besides rows, checked when they are built."""

from __future__ import annotations

from espalier.capabilities import Extra
from espalier.errors import InvalidInput
from espalier.scorer import Scorer


def require_extra(scorer: Scorer, extra: Extra, who: str) -> None:
    """Raise `InvalidInput` if the scorer says that its passes do not give an extra."""
    if scorer.extras is not None and extra not in scorer.extras:
        raise InvalidInput(
            f"{who} reads {extra.value!r} of each pass, which {type(scorer).__name__} does not give; use a model that does "
            f"(a transformer loaded by es.load()), or a method that reads rows alone, such as es.shaping.dry()"
        )
