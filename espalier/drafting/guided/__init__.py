"""Drafts from a guide: bytes that must come next, written as tokens."""
