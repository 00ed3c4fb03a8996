"""A second stream: for each prefix of a first one its twin, and scorers that answer for it from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from espalier.prefix import Prefix
from espalier.prefix_state import PrefixState
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper


def twins(
    first: Callable[[Prefix], Prefix],
    tokens: Callable[[Prefix], Sequence[int]] = lambda node: node.tokens,
    written: bool = False,
) -> PrefixState[Prefix]:
    """Each prefix's twin: `first(node)` of a root, and of any other node its parent's twin followed by `tokens(node)`.

    What is given in the first stream is given in the second, what is written is written; with `written=True` every origin
    counts as a root. Twins of forks share their ancestors, so keys and values are shared as they are in the first stream.

    >>> negative = twins(lambda root: Prefix([7, 7]))
    >>> negative(Prefix([1, 2]) + 3).ids()
    [7, 7, 3]
    """

    def twin(node: Prefix, above: Prefix | None) -> Prefix:
        if above is None:
            return first(node)
        return above.given(tokens(node)) if node.origin is node else above + tokens(node)

    return PrefixState(twin, written)


class SecondStream(Wrapper):
    """The rows that the inner scorer has for the prefixes' twins, `prefix(x)` for x.

    >>> import espalier as es
    >>> model, x = es.models.Table.random(vocab_size=4, depth=1, seed=0), Prefix([1])
    >>> elsewhere = SecondStream(model, twins(lambda root: Prefix([3])))
    >>> [y] = es.run(es.sample(elsewhere | es.temperature(0), x, es.stop.budget(1), es.Rng(0)))
    >>> y.last == model.forward([Prefix([3])], frozenset())[0].argmax()
    True
    """

    def __init__(self, inner: Scorer, prefix: PrefixState[Prefix]) -> None:
        super().__init__(inner)
        self.prefix = prefix

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, [self.prefix(x) for x in prefixes], want)
        return Rows(rows.logits, prefixes, rows.extras, rows.limits, rows.after)

    def forbid(self, prefix: Prefix, token: int) -> None:
        self.inner.forbid(self.prefix(prefix), token)

    def viable(self, prefix: Prefix) -> bool:
        return self.inner.viable(self.prefix(prefix))
