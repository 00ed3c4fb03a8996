"""Decoders: generators that ask about prefixes, keep what has settled and return what they found."""

from espalier.decoders.beams import Beam, BestFirst, Hypothesis, Lattice, StochasticBeam, beam
from espalier.decoders.budget import Budget
from espalier.decoders.decoder import Decoding, Weighted
from espalier.decoders.faithful import ARS, CARS, SMC, ASAp, Awrs, Local, Reject
from espalier.decoders.fastcot import glance
from espalier.decoders.plain import Sample, Speculate
from espalier.decoders.sample import sample
from espalier.decoders.speculation import speculate

__all__ = [
    "ARS",
    "CARS",
    "SMC",
    "ASAp",
    "Awrs",
    "Beam",
    "BestFirst",
    "Budget",
    "Decoding",
    "Hypothesis",
    "Lattice",
    "Local",
    "Reject",
    "Sample",
    "Speculate",
    "StochasticBeam",
    "Weighted",
    "beam",
    "glance",
    "sample",
    "speculate",
]
