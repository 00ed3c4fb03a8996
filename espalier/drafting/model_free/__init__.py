"""Drafters that ask no model of their own: n-grams, what was written, what the target nearly said."""
