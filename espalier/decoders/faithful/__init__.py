"""Samplers of p(text | text is valid): exact by rejection, asymptotic by particles."""

from espalier.decoders.faithful.awrs import Awrs
from espalier.decoders.faithful.rejection import ARS, CARS, ASAp, Local, Reject
from espalier.decoders.faithful.samples import Faithful, Sample, faithful
from espalier.decoders.faithful.smc import SMC

__all__ = ["ARS", "CARS", "SMC", "ASAp", "Awrs", "Faithful", "Local", "Reject", "Sample", "faithful"]
