"""Shapers: functions of rows, in the order logits → temperature → truncation."""

import lazy_loader

from espalier.shaping.bias import bias as bias  # modules have the same names, which would hide them
from espalier.shaping.combine.linear import combine as combine
from espalier.shaping.mirostat import mirostat as mirostat
from espalier.shaping.watermark import watermark as watermark
from espalier.shaping.xtc import xtc as xtc

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
