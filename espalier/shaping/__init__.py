"""Shapers: functions of rows, in the order logits → temperature → truncation."""

from espalier.shaping.allow import not_before, only
from espalier.shaping.bias import ban, bias, sequence_bias
from espalier.shaping.combine.aed import aed
from espalier.shaping.combine.contrast import contrast
from espalier.shaping.combine.guidance import Reprompted, guidance
from espalier.shaping.combine.linear import combine, proxy
from espalier.shaping.combine.mixture import Mixture
from espalier.shaping.combine.prompts import adversarial, context_aware, instructive, lqcd
from espalier.shaping.control.adadec import adadec
from espalier.shaping.control.router import router
from espalier.shaping.control.value import Value as Value
from espalier.shaping.control.value import value
from espalier.shaping.ending import end_decay, self_terminating
from espalier.shaping.history import Counts, History
from espalier.shaping.layers.deco import deco
from espalier.shaping.layers.dfd import dfd
from espalier.shaping.layers.dola import dola
from espalier.shaping.mirostat import mirostat
from espalier.shaping.penalize import frequency, penalty, presence, repetition
from espalier.shaping.repeats.contrastive import contrastive_search
from espalier.shaping.repeats.dry import dry
from espalier.shaping.repeats.fsd import fsd
from espalier.shaping.repeats.look_back import look_back
from espalier.shaping.repeats.momentum import momentum
from espalier.shaping.repeats.no_repeat import no_repeat
from espalier.shaping.repeats.rpg import rpg
from espalier.shaping.temper import dynamic_temperature, temperature
from espalier.shaping.through_transformers import from_transformers, to_transformers
from espalier.shaping.truncate import epsilon, eta, min_p, top_h, top_k, top_n_sigma, top_p, typical
from espalier.shaping.watermark import Detection, watermark
from espalier.shaping.xtc import xtc

__all__ = [
    "Counts",
    "Detection",
    "History",
    "Mixture",
    "Reprompted",
    "adadec",
    "adversarial",
    "aed",
    "ban",
    "bias",
    "combine",
    "context_aware",
    "contrast",
    "contrastive_search",
    "deco",
    "dfd",
    "dola",
    "dry",
    "dynamic_temperature",
    "end_decay",
    "epsilon",
    "eta",
    "frequency",
    "from_transformers",
    "fsd",
    "guidance",
    "instructive",
    "look_back",
    "lqcd",
    "min_p",
    "mirostat",
    "momentum",
    "no_repeat",
    "not_before",
    "only",
    "penalty",
    "presence",
    "proxy",
    "repetition",
    "router",
    "rpg",
    "self_terminating",
    "sequence_bias",
    "temperature",
    "to_transformers",
    "top_h",
    "top_k",
    "top_n_sigma",
    "top_p",
    "typical",
    "value",
    "watermark",
    "xtc",
]
