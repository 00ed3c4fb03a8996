"""Drafters: where the tokens that a pass verifies come from."""

from espalier.drafting.aded import ADED
from espalier.drafting.aggressive import Aggressive
from espalier.drafting.auto import Auto
from espalier.drafting.bandit import EXP3, UCB, BanditDrafter, BanditLength
from espalier.drafting.bass import BASS
from espalier.drafting.beam import Beam, OptTree
from espalier.drafting.compose import Cascade, Fuse
from espalier.drafting.confidence import DDD, SVIP, AdaptiveConfidence, Confidence, FittedConfidence
from espalier.drafting.curve import PassCurve, pass_curve
from espalier.drafting.dense import ApproximateIndex, DReSD, ExactIndex, HiddenStore
from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.dyspec import DySpec
from espalier.drafting.early import DEL, early_exit
from espalier.drafting.forced import Forced
from espalier.drafting.goodput import Goodput
from espalier.drafting.heuristic import Both, Heuristic
from espalier.drafting.hierarchy import Hierarchy
from espalier.drafting.jacobi import Jacobi, gauss_seidel, hybrid
from espalier.drafting.lookahead import Lookahead
from espalier.drafting.model import DraftModel
from espalier.drafting.named import named
from espalier.drafting.ngram import PromptLookup
from espalier.drafting.ngram_cache import NGramCache, NGramCounts
from espalier.drafting.outlook import Outlook
from espalier.drafting.pearl import Pearl
from espalier.drafting.policy import Chain, Constant, LengthPolicy, TreePolicy
from espalier.drafting.predict import DISCO, AdaEAGLE, Predictor, Recorder, SpecDecPP
from espalier.drafting.propd import ProPD
from espalier.drafting.quantised import quantised
from espalier.drafting.recycle import TokenRecycling
from espalier.drafting.retrieve import RASD, REST, Graft
from espalier.drafting.sequoia import Acceptance, Sequoia
from espalier.drafting.short import Enriched, Shortened
from espalier.drafting.siblings import Siblings
from espalier.drafting.skip import SkipSearch, best_skip, skip_layers
from espalier.drafting.speculative_jacobi import SpeculativeJacobi
from espalier.drafting.staged import Staged
from espalier.drafting.stand import STAND
from espalier.drafting.stochastic import Chains, StochasticBeam
from espalier.drafting.store import TextStore
from espalier.drafting.successors import Successors
from espalier.drafting.swift import SWIFT
from espalier.drafting.template import KConfig, Template
from espalier.drafting.tetris import Capacity, Tetris
from espalier.drafting.thompson import Thompson
from espalier.drafting.trim import VocabTrim, frequent
from espalier.drafting.vocabulary import Intersection, Retokenised, StringLaw

__all__ = [
    "ADED",
    "BASS",
    "DDD",
    "DEL",
    "DISCO",
    "EXP3",
    "RASD",
    "REST",
    "STAND",
    "SVIP",
    "SWIFT",
    "UCB",
    "Acceptance",
    "AdaEAGLE",
    "AdaptiveConfidence",
    "Aggressive",
    "ApproximateIndex",
    "Auto",
    "BanditDrafter",
    "BanditLength",
    "Beam",
    "Both",
    "Capacity",
    "Cascade",
    "Chain",
    "Chains",
    "Confidence",
    "Constant",
    "DReSD",
    "Draft",
    "DraftModel",
    "Drafter",
    "DySpec",
    "Enriched",
    "ExactIndex",
    "FittedConfidence",
    "Forced",
    "Fuse",
    "Goodput",
    "Graft",
    "Heuristic",
    "HiddenStore",
    "Hierarchy",
    "Intersection",
    "Jacobi",
    "KConfig",
    "LengthPolicy",
    "Lookahead",
    "NGramCache",
    "NGramCounts",
    "OptTree",
    "Outlook",
    "PassCurve",
    "Pearl",
    "Predictor",
    "ProPD",
    "PromptLookup",
    "Recorder",
    "Retokenised",
    "Sequoia",
    "Shortened",
    "Siblings",
    "SkipSearch",
    "SpecDecPP",
    "SpeculativeJacobi",
    "Staged",
    "StochasticBeam",
    "StringLaw",
    "Successors",
    "Template",
    "Tetris",
    "TextStore",
    "Thompson",
    "TokenRecycling",
    "TreePolicy",
    "VocabTrim",
    "best_skip",
    "early_exit",
    "frequent",
    "gauss_seidel",
    "hybrid",
    "named",
    "pass_curve",
    "quantised",
    "skip_layers",
]
