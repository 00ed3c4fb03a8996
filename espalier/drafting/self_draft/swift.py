"""Self-speculation whose skipped layers are chosen while the text is written."""

from __future__ import annotations

from collections.abc import Generator
from copy import copy
from itertools import islice
from typing import Any, cast

from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.draft_model.draft_model import in_place_of_model, same_vocabulary
from espalier.drafting.lengths.confidence import Confidence
from espalier.drafting.policies import LengthPolicy, TreePolicy, grow
from espalier.drafting.self_draft.skip_layers import Skip, depth, most_promising, random_skip, units, without
from espalier.drafting.trees.side_leaves import Siblings
from espalier.errors import require
from espalier.models.executors.sublayers import Skipped
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Model, Scorer


class SWIFT(Drafter):
    """Drafts by the model without some of its inner layers, and looks for a better choice of them as it goes.

    Attention and MLP of a layer are left out apart where the model can (`apart`). What is left reads the model's own keys and
    values of settled tokens where they lie (tested by `test_swift_searches_halves_of_layers_on_one_cache`).

    Once `window` tokens are written, every `every`-th round tries a set of `ratio` of the inner layers: random ones, and
    every `bayes`-th the one with the largest expected improvement. A trial is one pass of the part over the last `window`
    tokens, behind `context` more; its score is the share of them that the part says too. The search ends at a score of
    `enough`, after `trials`, or after `patience` without a better one. What is found serves all requests. The choice looks at
    settled text only, so every verifier's guarantee stays. Xia et al. 2024, "SWIFT" (arXiv 2410.06916).

    >>> lm.generate("Hi", drafter=SWIFT(lm.model))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model,
        ratio: float = 0.45,
        tree: TreePolicy | None = None,
        length: LengthPolicy | None = None,
        window: int = 32,
        context: int = 32,
        every: int = 1,
        bayes: int = 25,
        enough: float = 0.93,
        trials: int = 1000,
        patience: int = 300,
        apart: bool | None = None,
    ) -> None:
        layers = depth(model)
        require(layers >= 3, f"the model has {layers} layers; the first and the last are kept, so none is left to skip")
        require(0 < ratio < 1, f"ratio={ratio}: a share of the layers, between 0 and 1")
        require(min(window, every, bayes) >= 1 and context >= 1, "window, context, every and bayes are at least 1")
        self.tree, self.length = tree or Siblings(), length or Confidence(0.8, most=25)
        self.kind, self.want = self.tree.kind, self.length.reads
        self.choice = _Choice(model, units(model, apart), ratio, enough, trials, patience)
        self.window, self.context, self.every, self.bayes = window, context, every, bayes
        self._rounds = 0
        self._target: Scorer = model

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.choice.model, scorer)
        self._target = scorer

    def begin(self, x: Prefix) -> Drafter:
        fresh = copy(self)  # the choice of layers is shared
        fresh.tree, fresh.length = self.tree.begin(x), self.length.begin(x)
        return fresh

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        self._rounds += 1
        if len(x) - len(x.origin) > self.window and self._rounds % self.every == 0 and not self.choice.ended:
            yield from self._trial(x, rng)
        return (yield from grow(self._spoken(), x, self.tree, self.length, rng))

    def _spoken(self) -> Scorer:
        return in_place_of_model(self._target, self.choice.part, self.kind)

    def _trial(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, None]:
        skip = self.choice.next(rng, by_bayes=(len(self.choice.scores) + 1) % self.bayes == 0)
        trial = without(self.choice.model, skip)
        ids, prefixes = x.tail(self.window + 1), list[Prefix]()
        if getattr(trial, "borrows", False):  # each position behind what the model itself has read
            above = [node for node in islice(x.up(), 1, self.window + 1) if node.parent and len(node.tokens) == 1]
            prefixes = [cast(Prefix, node.parent) + node.last for node in above[::-1]]
        if len(prefixes) < self.window:
            given = x.tail(self.window + self.context)
            prefixes = [Prefix(given[: -self.window])]
            for token in given[-self.window : -1]:
                prefixes.append(prefixes[-1] + token)
        rows = yield Ask(trial, prefixes)
        said = rows.logits.argmax(-1).tolist()
        self.choice.learn(skip, sum(a == b for a, b in zip(said, ids[-self.window :], strict=True)) / self.window)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.tree.observe(x, draft, rows)
        self.length.observe(x, draft, rows)


class _Choice:
    """The best skip set so far and all that were tried, shared by the requests. Starts with evenly spread layers, untried."""

    def __init__(self, model: Model, inner: list[Skipped], ratio: float, enough: float, trials: int, patience: int) -> None:
        self.model, self.layers, self.ratio = model, depth(model), ratio
        self.enough, self.trials, self.patience = enough, trials, patience
        self.inner = inner
        count = round(ratio * len(self.inner))
        self.skip: Skip = frozenset(self.inner[i * len(self.inner) // count] for i in range(count)) if count else frozenset()
        self.part = without(model, self.skip)
        self.score, self.failures = -1.0, 0
        self.scores: dict[Skip, float] = {}

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to look for."""
        return self.score >= self.enough or len(self.scores) >= self.trials or self.failures >= self.patience

    def next(self, rng: Rng, by_bayes: bool) -> Skip:
        """The set to try now: first the one in use."""
        if not self.scores:
            return self.skip
        options = [random_skip(self.inner, rng, self.ratio) for _ in range(32 if by_bayes else 1)]
        return most_promising(options, self.scores, self.layers) if by_bayes else options[0]

    def learn(self, skip: Skip, score: float) -> None:
        """The score of a set; it is used from now on if it is the best."""
        self.scores[skip] = score
        if skip == self.skip:
            self.score = score
        elif score > self.score:
            self.skip, self.score, self.failures, self.part = skip, score, 0, without(self.model, skip)
        else:
            self.failures += 1
