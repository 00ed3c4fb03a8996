"""Decoders that keep the best of several prefixes."""

import lazy_loader

from espalier.decoders.beams.beam import beam as beam  # a module has the same name, which would hide it

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
