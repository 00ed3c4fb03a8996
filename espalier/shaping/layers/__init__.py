"""Scorers that compare what the layers of a model would say, all through one lens."""
