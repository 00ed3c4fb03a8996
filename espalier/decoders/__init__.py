"""Decoders: generators that ask about prefixes, keep what has settled and return what they found."""

from espalier.decoders import choose
from espalier.decoders.adadec import AdaDec
from espalier.decoders.answered import Answered
from espalier.decoders.beams import (
    Banks,
    Beam,
    BestFirst,
    Conditional,
    Hypothesis,
    Lattice,
    NeuroLogic,
    Span,
    StochasticBeam,
    beam,
    extract,
)
from espalier.decoders.budget import Budget
from espalier.decoders.decoder import Decoding, Weighted
from espalier.decoders.diver import Diver, diver
from espalier.decoders.faithful import ARS, CARS, SMC, ASAp, Awrs, Local, Reject
from espalier.decoders.fastcot import FastCoT, glance
from espalier.decoders.plain import Sample, Speculate
from espalier.decoders.sample import sample
from espalier.decoders.speculation import speculate
from espalier.decoders.steps import (
    MCTS,
    PGTD,
    VED,
    Adaptive,
    AStar,
    BestOf,
    Candidate,
    Commit,
    DraftedSteps,
    Found,
    Infill,
    LiteSearch,
    Phi,
    Progress,
    Rankgen,
    Rebase,
    Search,
    Steps,
    WaitK,
    queue,
)

__all__ = [
    "ARS",
    "CARS",
    "MCTS",
    "PGTD",
    "SMC",
    "VED",
    "ASAp",
    "AStar",
    "AdaDec",
    "Adaptive",
    "Answered",
    "Awrs",
    "Banks",
    "Beam",
    "BestFirst",
    "BestOf",
    "Budget",
    "Candidate",
    "Commit",
    "Conditional",
    "Decoding",
    "Diver",
    "DraftedSteps",
    "FastCoT",
    "Found",
    "Hypothesis",
    "Infill",
    "Lattice",
    "LiteSearch",
    "Local",
    "NeuroLogic",
    "Phi",
    "Progress",
    "Rankgen",
    "Rebase",
    "Reject",
    "Sample",
    "Search",
    "Span",
    "Speculate",
    "Steps",
    "StochasticBeam",
    "WaitK",
    "Weighted",
    "beam",
    "choose",
    "diver",
    "extract",
    "glance",
    "queue",
    "sample",
    "speculate",
]
