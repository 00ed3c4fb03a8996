from .auto.auto import Auto as Auto
from .compose import Cascade as Cascade
from .compose import Fuse as Fuse
from .draft import Draft as Draft
from .draft import Drafter as Drafter
from .draft_model.draft_model import DraftModel as DraftModel
from .draft_model.other_vocabulary import Intersection as Intersection
from .draft_model.other_vocabulary import Retokenised as Retokenised
from .draft_model.other_vocabulary import StringLaw as StringLaw
from .draft_model.pearl import Pearl as Pearl
from .draft_model.short_context import Enriched as Enriched
from .draft_model.short_context import Shortened as Shortened
from .draft_model.staged import Staged as Staged
from .draft_model.vocab_trim import VocabTrim as VocabTrim
from .draft_model.vocab_trim import frequent as frequent
from .guided.forced import Forced as Forced
from .guided.forced_tokens import Outlook as Outlook
from .lengths.bandit import EXP3 as EXP3
from .lengths.bandit import UCB as UCB
from .lengths.bandit import BanditDrafter as BanditDrafter
from .lengths.bandit import BanditLength as BanditLength
from .lengths.bass import BASS as BASS
from .lengths.confidence import (
    DDD as DDD,
)
from .lengths.confidence import (
    SVIP as SVIP,
)
from .lengths.confidence import (
    AdaptiveConfidence as AdaptiveConfidence,
)
from .lengths.confidence import (
    Confidence as Confidence,
)
from .lengths.confidence import (
    FittedConfidence as FittedConfidence,
)
from .lengths.goodput import Goodput as Goodput
from .lengths.heuristic import Both as Both
from .lengths.heuristic import Heuristic as Heuristic
from .lengths.model_free_length import Limited as Limited
from .lengths.predict import (
    DISCO as DISCO,
)
from .lengths.predict import (
    AdaEAGLE as AdaEAGLE,
)
from .lengths.predict import (
    Predictor as Predictor,
)
from .lengths.predict import (
    Recorder as Recorder,
)
from .lengths.predict import (
    SpecDecPP as SpecDecPP,
)
from .lengths.tetris import Capacity as Capacity
from .lengths.tetris import Tetris as Tetris
from .lengths.thompson import Thompson as Thompson
from .model_free.aded import ADED as ADED
from .model_free.aggressive import Aggressive as Aggressive
from .model_free.hierarchy import Hierarchy as Hierarchy
from .model_free.jacobi import Jacobi as Jacobi
from .model_free.jacobi import gauss_seidel as gauss_seidel
from .model_free.jacobi import hybrid as hybrid
from .model_free.lattice import Lattice as Lattice
from .model_free.lookahead import Lookahead as Lookahead
from .model_free.ngram_cache import NGramCache as NGramCache
from .model_free.ngram_cache import NGramCounts as NGramCounts
from .model_free.prompt_lookup import PromptLookup as PromptLookup
from .model_free.speculative_jacobi import SpeculativeJacobi as SpeculativeJacobi
from .model_free.stand import STAND as STAND
from .model_free.successors import Successors as Successors
from .model_free.token_recycling import TokenRecycling as TokenRecycling
from .pass_cost import PassCurve as PassCurve
from .pass_cost import pass_curve as pass_curve
from .policies import Chain as Chain
from .policies import Constant as Constant
from .policies import LengthPolicy as LengthPolicy
from .policies import TreePolicy as TreePolicy
from .retrieval.dense_retrieval import (
    ApproximateIndex as ApproximateIndex,
)
from .retrieval.dense_retrieval import (
    DReSD as DReSD,
)
from .retrieval.dense_retrieval import (
    ExactIndex as ExactIndex,
)
from .retrieval.dense_retrieval import (
    HiddenStore as HiddenStore,
)
from .retrieval.text_retrieval import RASD as RASD
from .retrieval.text_retrieval import REST as REST
from .retrieval.text_retrieval import Graft as Graft
from .retrieval.text_store import TextStore as TextStore
from .self_draft.early_exit import DEL as DEL
from .self_draft.early_exit import early_exit as early_exit
from .self_draft.propd import ProPD as ProPD
from .self_draft.quantised import quantised as quantised
from .self_draft.quantspec import quantspec as quantspec
from .self_draft.skip_layers import SkipSearch as SkipSearch
from .self_draft.skip_layers import best_skip as best_skip
from .self_draft.skip_layers import skip_layers as skip_layers
from .self_draft.swift import SWIFT as SWIFT
from .trees.beam_tree import Beam as Beam
from .trees.beam_tree import OptTree as OptTree
from .trees.dyspec import DySpec as DySpec
from .trees.fixed_tree import KConfig as KConfig
from .trees.fixed_tree import Template as Template
from .trees.random_tree import Chains as Chains
from .trees.random_tree import StochasticBeam as StochasticBeam
from .trees.sequoia import Acceptance as Acceptance
from .trees.sequoia import Sequoia as Sequoia
from .trees.side_leaves import Siblings as Siblings

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
