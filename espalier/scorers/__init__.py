"""Scores of candidates: tests, models, rewards, quantiles, stages."""

from espalier.scorers.sandbox import passes
from espalier.scorers.scorers import calibrated, model_logp, reward, staged, unit_tests

__all__ = ["calibrated", "model_logp", "passes", "reward", "staged", "unit_tests"]
