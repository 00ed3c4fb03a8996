"""Constraints on tokens rather than bytes: bans, filters of the vocabulary, canonical tokenization."""
