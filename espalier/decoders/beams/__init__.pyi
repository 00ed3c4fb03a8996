from .beam import Beam as Beam
from .beam import beam as beam
from .best_first import BestFirst as BestFirst
from .cascaded_markov import Markov as Markov
from .conditional import Conditional as Conditional
from .grid_beam import Banks as Banks
from .hypothesis import Hypothesis as Hypothesis
from .lattice import Lattice as Lattice
from .neurologic import NeuroLogic as NeuroLogic
from .span_extraction import Span as Span
from .span_extraction import extract as extract
from .stochastic import StochasticBeam as StochasticBeam

__all__ = [
    "Banks",
    "Beam",
    "BestFirst",
    "Conditional",
    "Hypothesis",
    "Lattice",
    "Markov",
    "NeuroLogic",
    "Span",
    "StochasticBeam",
    "beam",
    "extract",
]
