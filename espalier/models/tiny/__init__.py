"""Tiny character models that show protocols: they were trained by `scripts/tiny_models.py` in minutes, on made-up strings."""

from espalier.models.tiny.open import BiEncoder, ValueHead, open_tiny

__all__ = ["BiEncoder", "ValueHead", "open_tiny"]
