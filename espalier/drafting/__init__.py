"""Drafters: where the tokens that a pass verifies come from."""

from espalier.drafting.aded import ADED
from espalier.drafting.aggressive import Aggressive
from espalier.drafting.compose import Cascade, Fuse
from espalier.drafting.dense import ApproximateIndex, DReSD, ExactIndex, HiddenStore
from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.hierarchy import Hierarchy
from espalier.drafting.jacobi import Jacobi, gauss_seidel, hybrid
from espalier.drafting.lookahead import Lookahead
from espalier.drafting.ngram import PromptLookup
from espalier.drafting.ngram_cache import NGramCache, NGramCounts
from espalier.drafting.recycle import TokenRecycling
from espalier.drafting.retrieve import RASD, REST, Graft
from espalier.drafting.stand import STAND
from espalier.drafting.store import TextStore

__all__ = [
    "ADED",
    "RASD",
    "REST",
    "STAND",
    "Aggressive",
    "ApproximateIndex",
    "Cascade",
    "DReSD",
    "Draft",
    "Drafter",
    "ExactIndex",
    "Fuse",
    "Graft",
    "HiddenStore",
    "Hierarchy",
    "Jacobi",
    "Lookahead",
    "NGramCache",
    "NGramCounts",
    "PromptLookup",
    "TextStore",
    "TokenRecycling",
    "gauss_seidel",
    "hybrid",
]
