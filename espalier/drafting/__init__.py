"""Drafters: where the tokens that a pass verifies come from."""

from espalier.drafting.auto.auto import Auto
from espalier.drafting.compose import Cascade, Fuse
from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.draft_model.draft_model import DraftModel
from espalier.drafting.draft_model.other_vocabulary import Intersection, Retokenised, StringLaw
from espalier.drafting.draft_model.pearl import Pearl
from espalier.drafting.draft_model.short_context import Enriched, Shortened
from espalier.drafting.draft_model.staged import Staged
from espalier.drafting.draft_model.vocab_trim import VocabTrim, frequent
from espalier.drafting.guided.forced import Forced
from espalier.drafting.guided.forced_tokens import Outlook
from espalier.drafting.lengths.bandit import EXP3, UCB, BanditDrafter, BanditLength
from espalier.drafting.lengths.bass import BASS
from espalier.drafting.lengths.confidence import DDD, SVIP, AdaptiveConfidence, Confidence, FittedConfidence
from espalier.drafting.lengths.goodput import Goodput
from espalier.drafting.lengths.heuristic import Both, Heuristic
from espalier.drafting.lengths.model_free_length import Limited
from espalier.drafting.lengths.predict import DISCO, AdaEAGLE, Predictor, Recorder, SpecDecPP
from espalier.drafting.lengths.tetris import Capacity, Tetris
from espalier.drafting.lengths.thompson import Thompson
from espalier.drafting.model_free.aded import ADED
from espalier.drafting.model_free.aggressive import Aggressive
from espalier.drafting.model_free.hierarchy import Hierarchy
from espalier.drafting.model_free.jacobi import Jacobi, gauss_seidel, hybrid
from espalier.drafting.model_free.lattice import Lattice
from espalier.drafting.model_free.lookahead import Lookahead
from espalier.drafting.model_free.ngram_cache import NGramCache, NGramCounts
from espalier.drafting.model_free.prompt_lookup import PromptLookup
from espalier.drafting.model_free.speculative_jacobi import SpeculativeJacobi
from espalier.drafting.model_free.stand import STAND
from espalier.drafting.model_free.successors import Successors
from espalier.drafting.model_free.token_recycling import TokenRecycling
from espalier.drafting.pass_cost import PassCurve, pass_curve
from espalier.drafting.policies import Chain, Constant, LengthPolicy, TreePolicy
from espalier.drafting.retrieval.dense_retrieval import ApproximateIndex, DReSD, ExactIndex, HiddenStore
from espalier.drafting.retrieval.text_retrieval import RASD, REST, Graft
from espalier.drafting.retrieval.text_store import TextStore
from espalier.drafting.self_draft.early_exit import DEL, early_exit
from espalier.drafting.self_draft.propd import ProPD
from espalier.drafting.self_draft.quantised import quantised
from espalier.drafting.self_draft.quantspec import quantspec
from espalier.drafting.self_draft.skip_layers import SkipSearch, best_skip, skip_layers
from espalier.drafting.self_draft.swift import SWIFT
from espalier.drafting.trees.beam_tree import Beam, OptTree
from espalier.drafting.trees.dyspec import DySpec
from espalier.drafting.trees.fixed_tree import KConfig, Template
from espalier.drafting.trees.random_tree import Chains, StochasticBeam
from espalier.drafting.trees.sequoia import Acceptance, Sequoia
from espalier.drafting.trees.side_leaves import Siblings

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
    "Lattice",
    "LengthPolicy",
    "Limited",
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
    "pass_curve",
    "quantised",
    "quantspec",
    "skip_layers",
]
