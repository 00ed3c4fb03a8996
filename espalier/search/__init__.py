"""Search: decoders that look at more than one continuation."""

from espalier.search.beam import Hypothesis, beam

__all__ = ["Hypothesis", "beam"]
