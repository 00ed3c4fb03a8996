"""Decoders: generators that ask about prefixes, keep what has settled and return what they found."""

from espalier.decoders.beam import Beam, Hypothesis, beam
from espalier.decoders.decoder import Decoding, Weighted
from espalier.decoders.fastcot import glance
from espalier.decoders.plain import Sample, Speculate
from espalier.decoders.sample import sample, speculate

__all__ = ["Beam", "Decoding", "Hypothesis", "Sample", "Speculate", "Weighted", "beam", "glance", "sample", "speculate"]
