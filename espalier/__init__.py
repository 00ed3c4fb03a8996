"""Espalier: decoding from language models, where every method composes with every other.

A decoder is a generator that asks about prefixes; a scorer answers with a row of log-weights per prefix; one loop carries
the questions. Read `prefix`, `scorer`, `run`, `decode`, in this order; then any leaf alone.
"""

from espalier import decoders, drafting, models, shaping, stop, verification
from espalier.capabilities import Capabilities, Extra
from espalier.completion import Completion
from espalier.constraints import Guide, Limits, cfg, choices, explain, grammars, json, json_schema, masks, regex
from espalier.decoders.beam import beam
from espalier.decoders.faithful import faithful
from espalier.decoders.fastcot import glance
from espalier.decoders.sample import sample, speculate
from espalier.errors import EspalierError, InvalidInput
from espalier.lm import LanguageModel
from espalier.models.load.open import load
from espalier.prefix import Prefix
from espalier.prompt import raw
from espalier.requests import Constraining, Method, Request, Sampling, Stopping
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.run import Keep, Loop, run, settle
from espalier.scorer import Ask, Model, Scorer
from espalier.shaper import Shaper, Stage
from espalier.shaping import bias, frequency, min_p, presence, repetition, temperature, top_k, top_p
from espalier.token_constraint import TokenConstraint

__version__ = "0.1.0"

__all__ = [
    "Ask",
    "Capabilities",
    "Completion",
    "Constraining",
    "EspalierError",
    "Extra",
    "Guide",
    "InvalidInput",
    "Keep",
    "LanguageModel",
    "Limits",
    "Loop",
    "Method",
    "Model",
    "Prefix",
    "Request",
    "Rng",
    "Row",
    "Rows",
    "Sampling",
    "Scorer",
    "Shaper",
    "Stage",
    "Stopping",
    "TokenConstraint",
    "beam",
    "bias",
    "cfg",
    "choices",
    "decoders",
    "drafting",
    "explain",
    "faithful",
    "frequency",
    "glance",
    "grammars",
    "json",
    "json_schema",
    "load",
    "masks",
    "min_p",
    "models",
    "presence",
    "raw",
    "regex",
    "repetition",
    "run",
    "sample",
    "settle",
    "shaping",
    "speculate",
    "stop",
    "temperature",
    "top_k",
    "top_p",
    "verification",
]
