from . import choose as choose
from .adadec import AdaDec as AdaDec
from .beams import (
    Banks as Banks,
)
from .beams import (
    Beam as Beam,
)
from .beams import (
    BestFirst as BestFirst,
)
from .beams import (
    Conditional as Conditional,
)
from .beams import (
    Hypothesis as Hypothesis,
)
from .beams import (
    Lattice as Lattice,
)
from .beams import (
    Markov as Markov,
)
from .beams import (
    NeuroLogic as NeuroLogic,
)
from .beams import (
    Span as Span,
)
from .beams import (
    StochasticBeam as StochasticBeam,
)
from .beams import (
    beam as beam,
)
from .beams import (
    extract as extract,
)
from .budget import Budget as Budget
from .decoder import Decoding as Decoding
from .decoder import Weighted as Weighted
from .decoder_objects import Sample as Sample
from .decoder_objects import Speculate as Speculate
from .diver import Diver as Diver
from .diver import diver as diver
from .faithful import ARS as ARS
from .faithful import CARS as CARS
from .faithful import SMC as SMC
from .faithful import ASAp as ASAp
from .faithful import Awrs as Awrs
from .faithful import Local as Local
from .faithful import Reject as Reject
from .fastcot import FastCoT as FastCoT
from .fastcot import glance as glance
from .sample import sample as sample
from .soft import (
    Adapted as Adapted,
)
from .soft import (
    Langevin as Langevin,
)
from .soft import (
    NGrams as NGrams,
)
from .soft import (
    Superposed as Superposed,
)
from .soft import (
    energies as energies,
)
from .soft import (
    optimise_hidden as optimise_hidden,
)
from .speculation import speculate as speculate
from .steps import (
    MCTS as MCTS,
)
from .steps import (
    PGTD as PGTD,
)
from .steps import (
    VED as VED,
)
from .steps import (
    Adaptive as Adaptive,
)
from .steps import (
    AStar as AStar,
)
from .steps import (
    BestOf as BestOf,
)
from .steps import (
    Candidate as Candidate,
)
from .steps import (
    Commit as Commit,
)
from .steps import (
    DraftedSteps as DraftedSteps,
)
from .steps import (
    Found as Found,
)
from .steps import (
    Infill as Infill,
)
from .steps import (
    LiteSearch as LiteSearch,
)
from .steps import (
    Phi as Phi,
)
from .steps import (
    Progress as Progress,
)
from .steps import (
    Rankgen as Rankgen,
)
from .steps import (
    Rebase as Rebase,
)
from .steps import (
    Search as Search,
)
from .steps import (
    Steps as Steps,
)
from .steps import (
    WaitK as WaitK,
)
from .steps import (
    queue as queue,
)
from .tool_answers import Answered as Answered

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
    "Adapted",
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
    "Langevin",
    "Lattice",
    "LiteSearch",
    "Local",
    "Markov",
    "NGrams",
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
    "Superposed",
    "WaitK",
    "Weighted",
    "beam",
    "choose",
    "diver",
    "energies",
    "extract",
    "glance",
    "optimise_hidden",
    "queue",
    "sample",
    "speculate",
]
