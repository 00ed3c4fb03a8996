"""Drafters: where the tokens that a pass verifies come from."""

from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.ngram import PromptLookup

__all__ = ["Draft", "Drafter", "PromptLookup"]
