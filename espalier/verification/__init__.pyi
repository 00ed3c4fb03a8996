from .block import Block as Block
from .exact_match import GreedyMatch as GreedyMatch
from .exact_match import MultiCandidate as MultiCandidate
from .exact_match import SampleMatch as SampleMatch
from .judge import Judge as Judge
from .kseq import KSeq as KSeq
from .reflective import Reflective as Reflective
from .rejection import Recursive as Recursive
from .rejection import Rejection as Rejection
from .relaxed import Ensemble as Ensemble
from .relaxed import Lenient as Lenient
from .relaxed import Relaxed as Relaxed
from .typical import Typical as Typical
from .verifier import Verifier as Verifier
from .verifier import check_pair as check_pair

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
