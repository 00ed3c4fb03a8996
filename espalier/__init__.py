"""Espalier: decoding from language models, where every method composes with every other."""
