"""Decoders: generators that ask about prefixes, keep what has settled and return what they found."""

from espalier.decoders.beam import Hypothesis, beam
from espalier.decoders.fastcot import glance
from espalier.decoders.sample import sample, speculate

__all__ = ["Hypothesis", "beam", "glance", "sample", "speculate"]
