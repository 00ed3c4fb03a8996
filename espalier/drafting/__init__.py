"""Drafters: where the tokens that a pass verifies come from."""

from espalier.drafting.aded import ADED
from espalier.drafting.aggressive import Aggressive
from espalier.drafting.beam import Beam, OptTree
from espalier.drafting.compose import Cascade, Fuse
from espalier.drafting.dense import ApproximateIndex, DReSD, ExactIndex, HiddenStore
from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.dyspec import DySpec
from espalier.drafting.hierarchy import Hierarchy
from espalier.drafting.jacobi import Jacobi, gauss_seidel, hybrid
from espalier.drafting.lookahead import Lookahead
from espalier.drafting.ngram import PromptLookup
from espalier.drafting.ngram_cache import NGramCache, NGramCounts
from espalier.drafting.policy import Chain, Constant, LengthPolicy, TreePolicy
from espalier.drafting.propd import ProPD
from espalier.drafting.recycle import TokenRecycling
from espalier.drafting.retrieve import RASD, REST, Graft
from espalier.drafting.sequoia import Sequoia
from espalier.drafting.stand import STAND
from espalier.drafting.stochastic import StochasticBeam
from espalier.drafting.store import TextStore
from espalier.drafting.template import KConfig, Template

__all__ = [
    "ADED",
    "RASD",
    "REST",
    "STAND",
    "Aggressive",
    "ApproximateIndex",
    "Beam",
    "Cascade",
    "Chain",
    "Constant",
    "DReSD",
    "Draft",
    "Drafter",
    "DySpec",
    "ExactIndex",
    "Fuse",
    "Graft",
    "HiddenStore",
    "Hierarchy",
    "Jacobi",
    "KConfig",
    "LengthPolicy",
    "Lookahead",
    "NGramCache",
    "NGramCounts",
    "OptTree",
    "ProPD",
    "PromptLookup",
    "Sequoia",
    "StochasticBeam",
    "Template",
    "TextStore",
    "TokenRecycling",
    "TreePolicy",
    "gauss_seidel",
    "hybrid",
]
