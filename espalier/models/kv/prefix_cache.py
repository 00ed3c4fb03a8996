"""The prefix cache: keys and values of texts that have ended, kept for requests that begin alike."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict

from espalier.errors import require
from espalier.models.kv.planning import held
from espalier.models.kv.store import KV
from espalier.prefix import Prefix

__all__ = ["PrefixCache"]


class PrefixCache:
    """Texts whose keys and values outlive their requests: strong references, at most `cache_mb`, least recently used first out.

    A request that begins as one of them shares its slots (radix sharing, by tokens); texts with a `salt` are shared with
    requests of the same salt only. What goes on from a kept text takes its place. Nothing approximate enters: these are the
    target's own keys and values. Zheng et al. 2023, "SGLang" (arXiv 2312.07104).

    Guarantee: the texts are those without a cache; the slots it holds alone take no more than `cache_mb`. A text that is
    larger than that is not kept, drives no other out, and is named once (UserWarning). Raises InvalidInput for a `cache_mb`,
    given or set later, that holds no token.

    >>> import torch
    >>> kv = KV(layers=1, width=2, dtype=torch.float32)
    >>> cache, x = PrefixCache(kv, cache_mb=1), Prefix([1, 2, 3])
    >>> kv.commit(kv.plan([x])); cache.keep(x + 4); del x
    >>> y = Prefix([1, 2, 3, 9]); cache.known(y)
    3
    """

    def __init__(self, kv: KV, cache_mb: float) -> None:
        self.kv, self.cache_mb, self._warned = kv, cache_mb, False
        self._kept: OrderedDict[int, tuple[Prefix, str | None]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def cache_mb(self) -> float:
        """The budget, in MiB."""
        return self._cache_mb

    @cache_mb.setter
    def cache_mb(self, cache_mb: float) -> None:
        require(cache_mb >= 0, f"cache_mb={cache_mb}: it cannot be negative; 0 keeps nothing")
        self.most = int(cache_mb * (1 << 20) // self.kv.bytes_per_token)  # tokens
        require(
            cache_mb == 0 or self.most >= 1,
            f"cache_mb={cache_mb} holds no token of this model ({self.kv.bytes_per_token} bytes each), so no prompt would be "
            "kept; raise it, or write cache_mb=0 for no cache",
        )
        self._cache_mb = cache_mb

    @property
    def nbytes(self) -> int:
        """The bytes of the keys and values that are kept; what texts share counts once."""
        return held(self.kv, [root for root, _ in self._kept.values()]) * self.kv.bytes_per_token

    def known(self, x: Prefix, salt: str | None = None) -> int:
        """How many of the first tokens of a prompt are known; they are shared from now on."""
        if salt is not None and x.parent is None:
            self.kv.salt(x, salt)
        count, ids = self.kv.known(x), x.ids()
        with self._lock:
            for key, (other, its) in list(self._kept.items()):
                if count and its == salt and other.tokens[:count] == tuple(ids[:count]):
                    self._kept.move_to_end(key)
        return count

    def keep(self, x: Prefix, salt: str | None = None) -> None:
        """Keeps a text that has ended: the tokens of it that have keys and values, as one run."""
        with self._lock:
            ids = x.ids()
            root = Prefix(ids)
            if salt is not None:
                self.kv.salt(root, salt)
            count = self.kv.known(root)
            if count < len(ids):
                root = Prefix(ids[:count])
                if salt is not None:
                    self.kv.salt(root, salt)
            if not count or self.kv.known(root) < count or self._too_large(count):
                return
            for key, (other, its) in list(self._kept.items()):
                if its == salt and _begins(root.tokens, other.tokens):
                    del self._kept[key]
            self._kept[id(root)] = root, salt
            while self._kept and self.nbytes > self.cache_mb * (1 << 20):
                self._kept.popitem(last=False)

    def _too_large(self, tokens: int) -> bool:
        """Whether a text of so many tokens cannot be kept, said the first time."""
        if tokens > self.most > 0 and not self._warned:
            self._warned = True
            mb = tokens * self.kv.bytes_per_token / (1 << 20)
            warnings.warn(
                f"cache_mb={self.cache_mb} holds {self.most} tokens of this model, and a text of {tokens} has ended, which "
                f"needs {mb:.3g}: it was not kept, and a request that begins as it did reads all of it again; raise "
                "cache_mb, or write cache_mb=0 for no cache",
                stacklevel=3,
            )
        return tokens > self.most

    def clear(self) -> None:
        """Forgets all texts."""
        with self._lock:
            self._kept.clear()


def _begins(tokens: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return tokens[: len(other)] == other
