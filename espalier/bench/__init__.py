"""Benchmarks: workloads, with peers side by side in one process, one JSON line per result."""
