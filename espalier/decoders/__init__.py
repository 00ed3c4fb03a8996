"""Decoders: generators that ask about prefixes, keep what has settled and return what they found."""

import lazy_loader

from espalier.decoders.diver import diver as diver  # modules have the same names, which would hide them
from espalier.decoders.sample import sample as sample

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
