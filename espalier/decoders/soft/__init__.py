"""Decoders that hand a model embeddings, keys and values instead of tokens: superposed drafts, gradients."""

from espalier.decoders.soft import energies
from espalier.decoders.soft.hidden import Adapted, optimise_hidden
from espalier.decoders.soft.langevin import Langevin
from espalier.decoders.soft.superposed import NGrams, Superposed

__all__ = ["Adapted", "Langevin", "NGrams", "Superposed", "energies", "optimise_hidden"]
