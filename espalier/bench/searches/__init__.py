"""Benches of searches and of faithful sampling."""
