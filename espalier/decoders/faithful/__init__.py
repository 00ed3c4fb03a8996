"""Samplers of p(text | text is valid): exact by rejection, asymptotic by particles."""

from espalier.decoders.faithful.rejection import ARS, CARS, ASAp, Local, Reject

__all__ = ["ARS", "CARS", "ASAp", "Local", "Reject"]
