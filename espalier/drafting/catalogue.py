"""Drafters by name, for the command line and `drafter="…"`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from espalier.drafting.auto.auto import Auto
from espalier.drafting.compose import Cascade, Fuse
from espalier.drafting.draft import Drafter
from espalier.drafting.model_free.aded import ADED
from espalier.drafting.model_free.hierarchy import Hierarchy
from espalier.drafting.model_free.jacobi import Jacobi
from espalier.drafting.model_free.lookahead import Lookahead
from espalier.drafting.model_free.ngram_cache import NGramCache
from espalier.drafting.model_free.prompt_lookup import PromptLookup
from espalier.drafting.model_free.stand import STAND
from espalier.drafting.model_free.token_recycling import TokenRecycling
from espalier.drafting.retrieval.dense_retrieval import DReSD
from espalier.drafting.self_draft.quantised import quantised
from espalier.errors import InvalidInput

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


def _quantised(lm: LanguageModel) -> Drafter:
    return quantised(lm.model)


NAMED: dict[str, Callable[[LanguageModel], Drafter]] = {
    "auto": lambda lm: Auto(),
    "lookup": lambda lm: PromptLookup(),
    "recycling": lambda lm: TokenRecycling(),
    "cache": lambda lm: NGramCache(),
    "cascade": lambda lm: Cascade(PromptLookup(shortest=2), TokenRecycling(nodes=15)),
    "fuse": lambda lm: Fuse(PromptLookup(tokens=6), TokenRecycling(nodes=15)),
    "lookahead": lambda lm: Lookahead(),
    "quantised": _quantised,
    "jacobi": lambda lm: Jacobi(),
    "hierarchy": lambda lm: Hierarchy(),
    "aded": lambda lm: ADED(),
    "dresd": lambda lm: DReSD(),
    "stand": lambda lm: STAND(lm.model.vocab_size),
}


def named(name: str, lm: LanguageModel) -> Drafter:
    """The drafter of this name for a language model. Raises `InvalidInput` for a name that is not known.

    >>> import espalier as es
    >>> named("lookup", None).__class__ is es.drafting.PromptLookup
    True
    """
    if name not in NAMED:
        raise InvalidInput(f"drafter={name!r} is not known; use one of {', '.join(NAMED)}, or None for plain decoding")
    return NAMED[name](lm)
