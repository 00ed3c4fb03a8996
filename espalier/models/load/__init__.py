"""Loading: folders, GGUF files, the hub, built-ins, and the cache folder."""

from espalier.models.load.open import load

__all__ = ["load"]
