"""Searches over steps of text that a score leads."""

from espalier.decoders.steps.candidate import Candidate, Found, Progress, Steps
from espalier.decoders.steps.drafted import DraftedSteps
from espalier.decoders.steps.foresight import Phi, Rankgen
from espalier.decoders.steps.rollouts import MCTS, PGTD
from espalier.decoders.steps.sampling import Adaptive, BestOf, Rebase
from espalier.decoders.steps.search import Search
from espalier.decoders.steps.streams import Commit, Infill, WaitK, queue
from espalier.decoders.steps.values import VED, AStar, LiteSearch

__all__ = [
    "MCTS",
    "PGTD",
    "VED",
    "AStar",
    "Adaptive",
    "BestOf",
    "Candidate",
    "Commit",
    "DraftedSteps",
    "Found",
    "Infill",
    "LiteSearch",
    "Phi",
    "Progress",
    "Rankgen",
    "Rebase",
    "Search",
    "Steps",
    "WaitK",
    "queue",
]
