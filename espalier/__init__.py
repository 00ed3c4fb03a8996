"""Espalier: decoding from language models, where every method composes with every other.

A decoder is a generator that asks about prefixes; a scorer answers with a row of log-weights per prefix; one loop carries
the questions. Read `prefix`, `rows`, `scorer`, `run`, in this order; then any leaf alone.

Names are imported when they are asked for (`__init__.pyi` says from where): neither this package nor
`espalier.constraints` imports torch.
"""

import lazy_loader

from espalier.engine import run as run  # a module has the same name, which would hide it

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
