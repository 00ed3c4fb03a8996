"""Decoders that keep the best of several prefixes."""

from espalier.decoders.beams.beam import Beam, beam
from espalier.decoders.beams.best_first import BestFirst
from espalier.decoders.beams.hypothesis import Hypothesis
from espalier.decoders.beams.lattice import Lattice
from espalier.decoders.beams.stochastic import StochasticBeam

__all__ = ["Beam", "BestFirst", "Hypothesis", "Lattice", "StochasticBeam", "beam"]
