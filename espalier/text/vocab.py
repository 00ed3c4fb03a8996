"""The vocabulary: what each token id says in bytes."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from espalier.errors import InvalidInput, expect


class Vocab:
    """What each token id writes: `vocab[id]` is its byte string.

    A special (control) token writes nothing: its byte string is `b""` and its id is in `special`. Ids of padding rows
    (a model's output layer is often wider than its tokenizer) are special too. Two vocabularies are equal iff their
    fingerprints are, that is iff every id writes the same bytes and the same ids end a text.

    Raises `InvalidInput` for an end token that is not an id, and for an id outside `range(size)` on lookup: negative
    ids do not count from the end here.

    >>> vocab = Vocab([b"a", "\\u00e9".encode()[:1], "\\u00e9".encode()[1:], None], end=[3])
    >>> vocab.size, vocab.join([0, 1, 2, 3]).decode(), sorted(vocab.special), sorted(vocab.end)
    (4, 'a\u00e9', [3], [3])
    """

    def __init__(
        self,
        tokens: Sequence[bytes | None],
        end: Iterable[int] = (),
        *,
        names: Mapping[int, str] | None = None,
    ) -> None:
        for token in tokens:
            expect(token, (bytes, type(None)), "a token", "the bytes that it writes, or None for a special token")
        self.special = frozenset(id for id, token in enumerate(tokens) if not token)
        self.end = frozenset(end)
        self._tokens = tuple(token or b"" for token in tokens)
        self._names = dict(names or {})
        self._encoder: Callable[[], Any] = lambda: None  # a weak reference to the tokenizer that this is the vocabulary of
        outside = sorted(id for id in self.end if not 0 <= id < len(self._tokens))
        if outside:
            raise InvalidInput(f"end tokens {outside} are outside the vocabulary of {len(self._tokens)} tokens")

    @property
    def size(self) -> int:
        """The number of ids, padding included: the width of the model's rows."""
        return len(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, id: int) -> bytes:
        if not 0 <= id < len(self._tokens):
            raise InvalidInput(f"token {id} is outside the vocabulary of {len(self._tokens)} tokens")
        return self._tokens[id]

    @property
    def tokens(self) -> tuple[bytes, ...]:
        """All byte strings, by id (b"" for special tokens)."""
        return self._tokens

    def join(self, ids: Iterable[int]) -> bytes:
        """The bytes that these tokens write one after the other."""
        return b"".join([self[id] for id in ids])

    @property
    def encode(self) -> Callable[[str], Sequence[int]] | None:
        """How the tokenizer that this is the vocabulary of turns a text into tokens; None if there is none (any more)."""
        tokenizer = self._encoder()
        return None if tokenizer is None else tokenizer.encode

    def made_by(self, tokenizer: Any) -> None:
        """Notes the tokenizer that this is the vocabulary of, for as long as it lives."""
        self._encoder = weakref.ref(tokenizer)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_encoder"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _encoder=lambda: None)

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """The id of each byte string that a token writes; of equal ones the smallest."""
        return {token: id for id, token in reversed(list(enumerate(self._tokens))) if token}

    @cached_property
    def longest(self) -> int:
        """The length in bytes of the longest token."""
        return max(map(len, self._tokens), default=0)

    def cut(self, data: bytes) -> list[int]:
        """The tokens that write these bytes, each the longest that fits, as far as the first byte that no token begins with.

        >>> Vocab([b"a", b"b", b"ab"]).cut(b"aab?a")
        [0, 2]
        """
        tokens: list[int] = []
        at = 0
        while at < len(data):
            fits = (n for n in range(min(self.longest, len(data) - at), 0, -1) if data[at : at + n] in self.ids)
            if not (size := next(fits, 0)):
                break
            tokens.append(self.ids[data[at : at + size]])
            at += size
        return tokens

    def name(self, id: int) -> str:
        """How to show one token to a person: its text, or the name of a special token.

        >>> Vocab([b" caf", b"\\xc3", None], names={2: "<end>"}).name(2)
        '<end>'
        """
        token = self[id]
        return self._names.get(id, f"<{id}>") if not token else token.decode("utf-8", "backslashreplace")

    @cached_property
    def special_names(self) -> tuple[str, ...]:
        """How the special tokens are shown, by id."""
        return tuple(map(self.name, sorted(self.special)))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all byte strings and end tokens, equal iff the vocabularies are."""
        digest = hashlib.sha256()
        digest.update(b"".join(len(token).to_bytes(4, "little") + token for token in self._tokens))
        digest.update(repr(sorted(self.end)).encode())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocab):
            return NotImplemented
        return self is other or (self._tokens == other._tokens and self.end == other.end)

    def __hash__(self) -> int:
        return hash((len(self._tokens), self.end))

    def __repr__(self) -> str:
        return f"Vocab(size={self.size}, special={len(self.special)}, end={sorted(self.end)})"
