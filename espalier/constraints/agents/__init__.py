"""Guides of agents: the order of named segments by temporal logic, and tools that answer."""
