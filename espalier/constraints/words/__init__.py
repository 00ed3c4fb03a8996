"""Guides about words and letters: phrases that must or must not appear, and filters of the vocabulary."""
