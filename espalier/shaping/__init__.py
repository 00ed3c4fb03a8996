"""Shapers: functions of rows, in the order logits → temperature → truncation."""

from espalier.shaping.allow import not_before, only
from espalier.shaping.bias import bias
from espalier.shaping.contrast import contrast
from espalier.shaping.guidance import Reprompted, guidance
from espalier.shaping.history import Counts, History
from espalier.shaping.mix import Mixture
from espalier.shaping.penalize import frequency, penalty, presence, repetition
from espalier.shaping.temper import temperature
from espalier.shaping.truncate import min_p, top_k, top_p
from espalier.shaping.watermark import Detection, watermark

__all__ = [
    "Counts",
    "Detection",
    "History",
    "Mixture",
    "Reprompted",
    "bias",
    "contrast",
    "frequency",
    "guidance",
    "min_p",
    "not_before",
    "only",
    "penalty",
    "presence",
    "repetition",
    "temperature",
    "top_k",
    "top_p",
    "watermark",
]
