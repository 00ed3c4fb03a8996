"""Searches over steps of text that a score leads."""

from espalier.decoders.steps.astar_and_ved import VED, AStar, LiteSearch
from espalier.decoders.steps.best_of_and_rebase import Adaptive, BestOf, Rebase
from espalier.decoders.steps.candidate import Candidate, Found, Progress, Steps
from espalier.decoders.steps.mcts import MCTS, PGTD
from espalier.decoders.steps.phi_and_rankgen import Phi, Rankgen
from espalier.decoders.steps.search import Search
from espalier.decoders.steps.speculative_steps import DraftedSteps
from espalier.decoders.streaming import Commit, Infill, WaitK, queue

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
