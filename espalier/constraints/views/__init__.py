"""Guides made visible: what each part of one does, and pictures of small ones."""
