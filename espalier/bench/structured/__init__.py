"""Engines of JSON schemas side by side: judged documents, written texts, right answers."""
