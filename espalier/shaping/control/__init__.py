"""Scorers that are steered: by a value of texts, or from one model to another."""
