"""Text: what tokens say in bytes, and how text becomes tokens and back."""

from espalier.text.vocab import Vocab

__all__ = ["Vocab"]
