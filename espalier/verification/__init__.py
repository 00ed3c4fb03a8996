"""Verifiers: which part of a draft is accepted, and which token follows it."""

from espalier.verification.match import GreedyMatch, SampleMatch
from espalier.verification.rejection import Rejection
from espalier.verification.verifier import Verifier, check_pair

__all__ = ["GreedyMatch", "Rejection", "SampleMatch", "Verifier", "check_pair"]
