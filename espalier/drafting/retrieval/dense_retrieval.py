"""DReSD: dense retrieval; what followed the hidden states that are nearest to the present one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from espalier.drafting.draft import Draft, Drafter, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading, Session
from espalier.errors import InvalidInput
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Scorer


class Index(Protocol):
    """A set of vectors that finds the nearest ones."""

    def add(self, keys: np.ndarray) -> None:
        """Adds vectors [N, D], numbered on from those that are there."""

    def nearest(self, key: np.ndarray, k: int) -> list[tuple[int, float]]:
        """Up to k (number, cosine similarity) of vectors, most similar to key [D] first."""


class ExactIndex:
    """All vectors compared with the query: one matrix product.

    >>> index = ExactIndex(2)
    >>> index.add(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> index.nearest(np.array([0.0, 2.0]), k=1)
    [(1, 1.0)]
    """

    def __init__(self, size: int) -> None:
        self._keys = np.zeros((256, size), dtype=np.float32)
        self._n = 0

    def add(self, keys: np.ndarray) -> None:
        """Adds vectors [N, D]."""
        while self._n + len(keys) > len(self._keys):
            self._keys = np.concatenate([self._keys, np.zeros_like(self._keys)])
        norms = np.linalg.norm(keys, axis=1, keepdims=True)
        self._keys[self._n : self._n + len(keys)] = keys / np.maximum(norms, 1e-12)
        self._n += len(keys)

    def nearest(self, key: np.ndarray, k: int) -> list[tuple[int, float]]:
        """Up to k (number, cosine similarity), most similar to key [D] first."""
        likeness = self._keys[: self._n] @ (key / max(float(np.linalg.norm(key)), 1e-12))
        best = np.argsort(-likeness, kind="stable")[:k]
        return [(int(i), float(likeness[i])) for i in best]


class ApproximateIndex:
    """A graph of near neighbours (HNSW), by the usearch library: for stores too large to compare with one by one.

    Malkov, Yashunin 2016, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small
    world graphs" (arXiv 1603.09320). Raises InvalidInput if usearch is not installed.

    >>> index = ApproximateIndex(2)
    >>> index.add(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32))
    >>> index.nearest(np.array([0.0, 2.0], dtype=np.float32), k=1)
    [(1, 1.0)]
    """

    def __init__(self, size: int) -> None:
        try:
            from usearch.index import Index as Graph
        except ImportError as error:
            raise InvalidInput('the approximate index needs usearch: pip install "espalier[retrieval]"') from error
        self._graph = Graph(ndim=size, metric="cos", dtype="f32")

    def add(self, keys: np.ndarray) -> None:
        """Adds vectors [N, D]. By one thread: with several the graph is another one each time."""
        new = np.arange(len(self._graph), len(self._graph) + len(keys))
        self._graph.add(new, np.ascontiguousarray(keys), threads=1)

    def nearest(self, key: np.ndarray, k: int) -> list[tuple[int, float]]:
        """Up to k (number, cosine similarity), most similar to key [D] first; as a rule the nearest, not always."""
        if not len(self._graph):
            return []
        found = self._graph.search(key, k)
        return [(int(i), 1 - float(d)) for i, d in zip(found.keys, found.distances, strict=True)]


class HiddenStore:
    """Hidden states and the texts that they belong to: state i was seen where position `places[i]` of the log comes next.

    Keys are reduced to `size` numbers by a random projection (seeded; it nearly keeps angles, Johnson, Lindenstrauss
    1984), and compared by their cosine. Full at `limit` states: then nothing is added.

    >>> store = HiddenStore(size=2)
    >>> store.add(np.eye(3, dtype=np.float32), [7, 8, 9], starts=[0, 1, 2])
    >>> store.following(store.key(np.eye(3, dtype=np.float32)[1:2])[0], tokens=2, k=1)
    [(8, 9)]
    """

    def __init__(self, size: int = 64, exact: bool = True, limit: int = 200_000) -> None:
        budget(size=size, limit=limit)
        self.size, self.limit = size, limit
        self.index: Index = ExactIndex(size) if exact else ApproximateIndex(size)
        self.log: list[int] = []
        self.places: list[int] = []
        self.session = Session()
        self._project: np.ndarray | None = None

    def key(self, hidden: np.ndarray) -> np.ndarray:
        """The keys [N, size] of hidden states [N, D]. Raises InvalidInput if D is not that of the states before."""
        width = hidden.shape[-1]
        if self._project is None:
            self._project = np.random.default_rng(0).normal(size=(width, self.size)).astype(np.float32)
        if len(self._project) != width:
            raise InvalidInput(
                f"hidden states of {width} numbers were given to a store of states of {len(self._project)}: it belongs to "
                "another model; make one store per model"
            )
        return np.asarray(hidden @ self._project, dtype=np.float32)

    def add(self, hidden: np.ndarray, text: Sequence[int], starts: Sequence[int]) -> None:
        """Adds a text, and states [N, D]: state i was seen where `text[starts[i]:]` follows."""
        room = max(self.limit - len(self.places), 0)
        starts = starts[:room]
        if starts:
            base = len(self.log)
            self.log += [*text, -1]
            self.places += [base + start for start in starts]
            self.index.add(self.key(hidden[: len(starts)]))

    def following(self, key: np.ndarray, tokens: int, k: int) -> list[tuple[int, ...]]:
        """Up to `tokens` tokens that followed each of the k nearest states, nearest first."""
        texts = []
        for number, _ in self.index.nearest(key, k):
            run = self.log[self.places[number] : self.places[number] + tokens]
            texts.append(tuple(run[: run.index(-1)] if -1 in run else run))
        return texts


class DReSD(PerText):
    """Chains that followed the `k` hidden states nearest to that from which the last token came, merged in one tree.

    The state after the last verified prefix is the query, and only neighbours whose next token is the one that came count
    (the others describe another branch). Each accepted position adds its state, with the tokens that then followed, to
    the store; `store` may hold states of a corpus from the start. Needs `want={"hidden"}` of the target: a model that has
    no hidden states refuses. Gritta et al. 2025, "DReSD: Dense retrieval for speculative decoding" (arXiv 2502.15572);
    the paper's PCA is a random projection here.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=1, seed=0)
    >>> verify, stop = es.verification.SampleMatch(), es.stop.budget(30)
    >>> [x] = es.run(es.speculate(model | es.temperature(0), es.Prefix([1]), stop, DReSD(tokens=2), verify, es.Rng(0)))
    >>> len(x.written()), model.passes < 30
    (30, True)
    """

    want = frozenset({"hidden"})

    def __init__(self, store: HiddenStore | None = None, k: int = 4, tokens: int = 8, nodes: int = 24) -> None:
        budget(k=k, tokens=tokens)
        budget(nodes=nodes)
        self.store = store if store is not None else HiddenStore()
        self.k, self.tokens, self.nodes = k, tokens, nodes

    def check(self, scorer: Scorer) -> None:
        self.store.session.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return _Dense(self)


class _Dense(ModelFree):
    """One request: the states of its text go into the store once `tokens` tokens followed them."""

    want = frozenset({"hidden"})

    def __init__(self, settings: DReSD) -> None:
        self.settings, self._text = settings, Reading()
        self._waiting: list[tuple[int, np.ndarray]] = []  # (where the text went on, the state there)
        self._query: tuple[int, np.ndarray] | None = None

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, draft = self.settings, Draft(x)
        if self._text.read(x) == 0:
            self._waiting = []
        if self._query is None or self._query[0] != len(x) - 1:
            return draft
        for text in s.store.following(s.store.key(self._query[1][None])[0], s.tokens + 1, s.k):
            if text and text[0] == x.last:
                draft.extend(0, text[1 : 1 + s.nodes - len(draft)])
        return draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if "hidden" not in rows.extras:
            raise InvalidInput(
                "DReSD looks hidden states up, and this model gives none; use es.drafting.REST, which needs text only"
            )
        s, above = self.settings, set(x.up())
        if self._text.read(x) == 0:
            self._waiting = []
        for i, prefix in enumerate(rows.prefixes):
            if prefix in above and prefix is not x:
                hidden = rows.extras["hidden"][i].float().cpu().numpy()
                self._waiting.append((len(prefix), hidden))
                self._query = (len(prefix), hidden)
        ready = [entry for entry in self._waiting if entry[0] + s.tokens < len(x)]
        if ready:
            first = ready[0][0]
            text = self._text.ids[first : ready[-1][0] + s.tokens + 1]
            s.store.add(np.stack([hidden for _, hidden in ready]), text, [place - first for place, _ in ready])
            self._waiting = self._waiting[len(ready) :]
