"""Guides that choose: each item once, some of them, spans of a given text."""
