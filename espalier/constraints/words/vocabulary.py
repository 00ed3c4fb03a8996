"""Filters after the writing assistant of Roush et al. 2022 (arXiv 2306.15926), to be combined with `&`:
`vocabulary.letters(banned="e") & vocabulary.word_lengths(hi=5)`."""

from espalier.constraints.on_tokens.filters import tokens
from espalier.constraints.words.letters import anagram, ends_with, letters, palindrome, starts_with, word_lengths
from espalier.constraints.words.sounds import cmu, rhymes, syllables

__all__ = [
    "anagram",
    "cmu",
    "ends_with",
    "letters",
    "palindrome",
    "rhymes",
    "starts_with",
    "syllables",
    "tokens",
    "word_lengths",
]
