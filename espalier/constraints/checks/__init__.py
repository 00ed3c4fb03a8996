"""Guides that ask a program: tests of the text so far, static analysis."""
