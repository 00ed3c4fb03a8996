"""Executors: what computes a pass (plain torch, native CPU kernels, CUDA graphs, transformers)."""
