"""Decoders that keep the best of several prefixes."""

from espalier.decoders.beams.beam import Beam, beam
from espalier.decoders.beams.best_first import BestFirst
from espalier.decoders.beams.cascaded_markov import Markov
from espalier.decoders.beams.conditional import Conditional
from espalier.decoders.beams.grid_beam import Banks
from espalier.decoders.beams.hypothesis import Hypothesis
from espalier.decoders.beams.lattice import Lattice
from espalier.decoders.beams.neurologic import NeuroLogic
from espalier.decoders.beams.span_extraction import Span, extract
from espalier.decoders.beams.stochastic import StochasticBeam

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
