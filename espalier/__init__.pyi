# The public names and where they stand: read by type checkers, and by `__init__.py`, which imports each when it is asked for.
from . import constraints as constraints
from . import decoders as decoders
from . import drafting as drafting
from . import models as models
from . import prompts as prompts
from . import scorers as scorers
from . import serving as serving
from . import shaping as shaping
from . import stop as stop
from . import verification as verification
from .capabilities import Capabilities as Capabilities
from .capabilities import Extra as Extra
from .constraints import Guide as Guide
from .constraints import Limits as Limits
from .constraints import Schema as Schema
from .constraints import cfg as cfg
from .constraints import choices as choices
from .constraints import explain as explain
from .constraints import grammars as grammars
from .constraints import json as json
from .constraints import json_schema as json_schema
from .constraints import masks as masks
from .constraints import regex as regex
from .constraints import token as token
from .decoders import choose as choose
from .decoders.beams import beam as beam
from .decoders.faithful import faithful as faithful
from .decoders.fastcot import glance as glance
from .decoders.sample import sample as sample
from .decoders.speculation import speculate as speculate
from .engine import Engine as Engine
from .engine import run as run
from .engine import settle as settle
from .errors import EspalierError as EspalierError
from .errors import InvalidInput as InvalidInput
from .lm import LanguageModel as LanguageModel
from .models.load.open import load as load
from .prefix import Prefix as Prefix
from .prefix import Query as Query
from .requests.completion import Completion as Completion
from .requests.prompt import raw as raw
from .requests.request import Constraining as Constraining
from .requests.request import Method as Method
from .requests.request import Request as Request
from .requests.request import Sampling as Sampling
from .requests.request import Stopping as Stopping
from .rng import Rng as Rng
from .rows import Row as Row
from .rows import Rows as Rows
from .run import Loop as Loop
from .scheduler import Scheduler as Scheduler
from .scorer import Ask as Ask
from .scorer import Model as Model
from .scorer import Scorer as Scorer
from .serving.asynchronous import AsyncLanguageModel as AsyncLanguageModel
from .shaper import Shaper as Shaper
from .shaper import Stage as Stage
from .shaping import bias as bias
from .shaping import frequency as frequency
from .shaping import min_p as min_p
from .shaping import presence as presence
from .shaping import repetition as repetition
from .shaping import temperature as temperature
from .shaping import top_k as top_k
from .shaping import top_p as top_p
from .soft_prefix import Soft as Soft
from .token_constraint import TokenConstraint as TokenConstraint
from .turns.messages import Draw as Draw
from .turns.messages import Keep as Keep

__version__: str

__all__ = [
    "Ask",
    "AsyncLanguageModel",
    "Capabilities",
    "Completion",
    "Constraining",
    "Draw",
    "Engine",
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
    "Query",
    "Request",
    "Rng",
    "Row",
    "Rows",
    "Sampling",
    "Scheduler",
    "Schema",
    "Scorer",
    "Shaper",
    "Soft",
    "Stage",
    "Stopping",
    "TokenConstraint",
    "beam",
    "bias",
    "cfg",
    "choices",
    "choose",
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
    "prompts",
    "raw",
    "regex",
    "repetition",
    "run",
    "sample",
    "scorers",
    "serving",
    "settle",
    "shaping",
    "speculate",
    "stop",
    "temperature",
    "token",
    "top_k",
    "top_p",
    "verification",
]
