from .awrs import Awrs as Awrs
from .rejection import ARS as ARS
from .rejection import CARS as CARS
from .rejection import ASAp as ASAp
from .rejection import Local as Local
from .rejection import Reject as Reject
from .samples import Faithful as Faithful
from .samples import Sample as Sample
from .samples import faithful as faithful
from .smc import SMC as SMC

__all__ = ["ARS", "CARS", "SMC", "ASAp", "Awrs", "Faithful", "Local", "Reject", "Sample", "faithful"]
