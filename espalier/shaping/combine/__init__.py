"""Scorers made of the rows of several models, or of one model after several prompts."""
