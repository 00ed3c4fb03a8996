"""Shapers: functions of rows, in the order logits → temperature → truncation."""

from espalier.shaping.mix import Mixture
from espalier.shaping.penalize import bias, frequency, presence, repetition
from espalier.shaping.temper import temperature
from espalier.shaping.truncate import min_p, top_k, top_p

__all__ = ["Mixture", "bias", "frequency", "min_p", "presence", "repetition", "temperature", "top_k", "top_p"]
