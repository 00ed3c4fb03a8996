"""Verifiers: which part of a draft is accepted, and which token follows it."""

from espalier.verification.block import Block
from espalier.verification.exact_match import GreedyMatch, MultiCandidate, SampleMatch
from espalier.verification.judge import Judge
from espalier.verification.kseq import KSeq
from espalier.verification.reflective import Reflective
from espalier.verification.rejection import Recursive, Rejection
from espalier.verification.relaxed import Ensemble, Lenient, Relaxed
from espalier.verification.typical import Typical
from espalier.verification.verifier import Verifier, check_pair

__all__ = [
    "Block",
    "Ensemble",
    "GreedyMatch",
    "Judge",
    "KSeq",
    "Lenient",
    "MultiCandidate",
    "Recursive",
    "Reflective",
    "Rejection",
    "Relaxed",
    "SampleMatch",
    "Typical",
    "Verifier",
    "check_pair",
]
