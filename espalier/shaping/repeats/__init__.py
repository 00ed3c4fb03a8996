"""Shapers against texts that repeat themselves, each with its memory kept per prefix."""
