from .allow import not_before as not_before
from .allow import only as only
from .bias import ban as ban
from .bias import bias as bias
from .bias import sequence_bias as sequence_bias
from .combine.aed import aed as aed
from .combine.contrast import contrast as contrast
from .combine.guidance import Reprompted as Reprompted
from .combine.guidance import guidance as guidance
from .combine.linear import combine as combine
from .combine.linear import proxy as proxy
from .combine.mixture import Mixture as Mixture
from .combine.prompts import adversarial as adversarial
from .combine.prompts import context_aware as context_aware
from .combine.prompts import instructive as instructive
from .combine.prompts import lqcd as lqcd
from .control.adadec import adadec as adadec
from .control.router import router as router
from .control.value import value as value
from .ending import end_decay as end_decay
from .ending import self_terminating as self_terminating
from .history import Counts as Counts
from .history import History as History
from .layers.deco import deco as deco
from .layers.dfd import dfd as dfd
from .layers.dola import dola as dola
from .mirostat import mirostat as mirostat
from .penalize import frequency as frequency
from .penalize import penalty as penalty
from .penalize import presence as presence
from .penalize import repetition as repetition
from .repeats.contrastive import contrastive_search as contrastive_search
from .repeats.dry import dry as dry
from .repeats.fsd import fsd as fsd
from .repeats.look_back import look_back as look_back
from .repeats.momentum import momentum as momentum
from .repeats.no_repeat import no_repeat as no_repeat
from .repeats.rpg import rpg as rpg
from .temper import dynamic_temperature as dynamic_temperature
from .temper import temperature as temperature
from .through_transformers import from_transformers as from_transformers
from .through_transformers import to_transformers as to_transformers
from .truncate import epsilon as epsilon
from .truncate import eta as eta
from .truncate import min_p as min_p
from .truncate import top_h as top_h
from .truncate import top_k as top_k
from .truncate import top_n_sigma as top_n_sigma
from .truncate import top_p as top_p
from .truncate import typical as typical
from .watermark import Detection as Detection
from .watermark import watermark as watermark
from .xtc import xtc as xtc

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
