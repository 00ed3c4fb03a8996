"""What a model says after one token and after two: a table made beforehand, from which drafting starts."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

Entry: TypeAlias = "tuple[tuple[int, int], ...]"  # tokens with the class of their probability, the most probable first
Seen: TypeAlias = "tuple[Sequence[int], Mapping[int, float]]"  # the last one or two tokens, and the law of the next one

CLASSES = (0.9, 0.7, 0.5, 0.3, 0.15, 0.07, 0.03)  # least probability of each class; less is not worth a node
NONE = len(CLASSES)
_FALLING = [-least for least in CLASSES]


def class_of(p: float) -> int:
    """The class of a probability, 0 for the highest; `NONE` below all of them.

    >>> class_of(0.95), class_of(0.5), class_of(0.01)
    (0, 2, 7)
    """
    return bisect_left(_FALLING, -p)


class Successors:
    """Contexts of one or two tokens → what the model says next, the mean over all times that they occurred.

    It steers drafts and nothing else: a poor table costs speed, never text. `scripts/successors.py` makes one from texts of
    the model's own; `shipped(vocab)` is the one that comes with the package for a vocabulary.

    >>> table = Successors.of([([5], {6: 0.8, 9: 0.1}), ([5, 6], {7: 0.5})])
    >>> table.after(5), table.after(5, 6), table.after(1)
    (((6, 1), (9, 5)), ((7, 2),), None)
    """

    def __init__(self, contexts: npt.NDArray[np.int32], tokens: npt.NDArray[np.int32], classes: npt.NDArray[np.uint8]) -> None:
        self.contexts, self.tokens, self.classes = contexts, tokens, classes  # [N, 2] (-1 first if one token), [N, K], [N, K]
        self._at = {pair: i for i, pair in enumerate(zip(*contexts.T.tolist(), strict=True))}
        self._read: dict[int, Entry] = {}  # entries that were asked for, out of the arrays

    def __len__(self) -> int:
        return len(self._at)

    def after(self, *context: int) -> Entry | None:
        """What follows one or two tokens; None if that is not known."""
        at = self._at.get(context if len(context) == 2 else (-1, *context))
        if at is None:
            return None
        if at not in self._read:
            found = zip(self.tokens[at].tolist(), self.classes[at].tolist(), strict=True)
            self._read[at] = tuple((token, kind) for token, kind in found if kind < NONE)
        return self._read[at]

    @classmethod
    def of(cls, seen: Iterable[Seen], width: int = 5, limit: int = 100_000) -> Successors:
        """The table of what was seen: the `width` likeliest tokens after each of the `limit` most frequent contexts."""
        laws: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        times: Counter[tuple[int, int]] = Counter()
        for tail, law in seen:
            for context in {(-1, tail[-1]), (tail[-2] if len(tail) > 1 else -1, tail[-1])}:
                times[context] += 1
                for token, p in law.items():
                    laws[context][token] += p  # type: ignore[assignment]
        kept = [context for context, _ in times.most_common(limit)]
        tokens = np.zeros((len(kept), width), np.int32)
        classes = np.full((len(kept), width), NONE, np.uint8)
        for i, context in enumerate(kept):
            for j, (token, weight) in enumerate(laws[context].most_common(width)):
                tokens[i, j], classes[i, j] = token, class_of(weight / times[context])
        some = (classes < NONE).any(1)
        return cls(np.array(kept, np.int32).reshape(-1, 2)[some], tokens[some], classes[some])

    def save(self, path: str | Path) -> None:
        """Writes the table to a file."""
        with Path(path).open("wb") as file:
            np.savez_compressed(file, contexts=self.contexts, tokens=self.tokens.T, classes=self.classes.T)

    @classmethod
    def load(cls, path: str | Path) -> Successors:
        """The table of a file. Raises `InvalidInput` if it holds none."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(stored["contexts"], stored["tokens"].T, stored["classes"].T)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise InvalidInput(f"{path} holds no table of successors ({error}); scripts/successors.py makes one") from error

    @classmethod
    def shipped(cls, vocab: Vocab) -> Successors | None:
        """The table that comes with the package for this vocabulary; None if there is none."""
        return _shipped(vocab.fingerprint)


@cache
def _shipped(fingerprint: str) -> Successors | None:
    file = resources.files("espalier.drafting.model_free") / "warm" / f"{fingerprint[:16]}.npz"
    if not file.is_file():
        return None
    with resources.as_file(file) as path:
        return Successors.load(path)
