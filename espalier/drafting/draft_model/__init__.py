"""Drafts written by a smaller model."""
