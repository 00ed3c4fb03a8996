from . import energies as energies
from .hidden import Adapted as Adapted
from .hidden import optimise_hidden as optimise_hidden
from .langevin import Langevin as Langevin
from .superposed import NGrams as NGrams
from .superposed import Superposed as Superposed

__all__ = ["Adapted", "Langevin", "NGrams", "Superposed", "energies", "optimise_hidden"]
