"""Requests: options, prompts, what is written for one and what comes back."""

from espalier.requests.completion import Completion, LogProb, Piece, Stats
from espalier.requests.option_groups import Constraining, Method, Sampling, Stopping
from espalier.requests.options import Options
from espalier.requests.request import Request

__all__ = [
    "Completion",
    "Constraining",
    "LogProb",
    "Method",
    "Options",
    "Piece",
    "Request",
    "Sampling",
    "Stats",
    "Stopping",
]
