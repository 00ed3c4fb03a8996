"""The KV cache: slots in one pool, found through prefixes; how a pass is laid out over them."""

from espalier.models.kv.store import KV

__all__ = ["KV"]
