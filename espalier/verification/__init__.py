"""Verifiers: which part of a draft is accepted, and which token follows it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
