"""`scorer * guide`: the parts of it, for programs that build them one by one."""

from espalier.scorer import Constrained
from espalier.token_constraint import BothLimits, StateLimit, TokenConstraint, restricts, states, token_constraint

__all__ = ["BothLimits", "Constrained", "StateLimit", "TokenConstraint", "restricts", "states", "token_constraint"]
