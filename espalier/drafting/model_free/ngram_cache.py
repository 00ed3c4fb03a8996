"""n-gram caches: what followed the last few tokens, counted in this text, in this session and in a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from espalier.drafting.draft import Draft, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading, Session
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.scorer import Scorer
from espalier.text.vocab import Vocab


class NGramCounts:
    """How often each token followed each context of 1 to `order` tokens. At most `limit` contexts; then new ones are
    ignored, and counting goes on for those that are there. With the `vocab` of the texts, a target of another one refuses them.

    >>> counts = NGramCounts.of([[1, 2, 3, 1, 2]], order=2)
    >>> counts.after([1, 2]), counts.after([2, 2])
    ([(3, 1)], [])
    """

    def __init__(self, order: int = 3, limit: int = 1_000_000, vocab: Vocab | None = None) -> None:
        require(order >= 1, f"order={order}: a context holds at least one token")
        require(limit >= 1, f"limit={limit}: at least one context must fit")
        self.order, self.limit, self.vocab = order, limit, vocab
        self._after: dict[tuple[int, ...], Counter[int]] = {}

    @classmethod
    def of(cls, texts: Iterable[Sequence[int]], order: int = 3, vocab: Vocab | None = None) -> NGramCounts:
        """The counts in some texts: the static cache."""
        counts = cls(order, vocab=vocab)
        for text in texts:
            counts.add(text)
        return counts

    def add(self, ids: Sequence[int], start: int = 1) -> None:
        """Counts the tokens of a text from position `start` on, each after its contexts."""
        for at in range(max(start, 1), len(ids)):
            for n in range(1, min(self.order, at) + 1):
                context = tuple(ids[at - n : at])
                if context in self._after:
                    self._after[context][ids[at]] += 1
                elif len(self._after) < self.limit:
                    self._after[context] = Counter({ids[at]: 1})

    def after(self, context: Sequence[int]) -> list[tuple[int, int]]:
        """What followed this context, the most frequent first, with its counts; of equals the first seen."""
        return self._after.get(tuple(context), Counter()).most_common()


# (least count, least share of all that followed) for a draft from a context of 1, 2, 3 and more tokens
_SURE = {1: (2, 0.66), 2: (2, 0.5), 3: (1, 0.5)}
_VERY_SURE = {1: (4, 0.75), 2: (2, 0.66), 3: (2, 0.66)}


class NGramCache(PerText):
    """A chain of the tokens that most often followed the longest context that is known well enough.

    Three caches are asked in this order: the text of the request (context of 1 to `order` tokens), the texts of earlier
    requests (dynamic; more certainty is asked for), and a corpus given as `static` counts. Where the first two leave a
    choice the static counts decide. The scheme, with the idea of these thresholds, is that of llama.cpp's lookup decoding
    (Gäßler 2024); the n-gram idea is Stern et al. 2018 and Saxena 2023's.

    >>> drafter = NGramCache(tokens=3)
    >>> x = Prefix([1, 2, 3, 4, 5, 1, 2, 3])
    >>> draft = drafter.begin(x).draft(x, Rng(0))
    >>> [draft.token(i) for i in range(1, len(draft) + 1)]
    [4, 5, 1]
    """

    def __init__(self, tokens: int = 8, order: int = 4, static: NGramCounts | None = None, shared: bool = True) -> None:
        budget(tokens=tokens)
        self.tokens, self.order, self.static, self.shared = tokens, order, static, shared
        self.dynamic = NGramCounts(order)
        self._session = Session()

    def check(self, scorer: Scorer) -> None:
        self._session.check(scorer)
        known = self.static.vocab if self.static is not None else None
        if known is not None and scorer.vocab is not None and known != scorer.vocab:
            raise InvalidInput(
                "the static counts were made with another tokenizer, so their tokens mean other words; count the texts again "
                "with this model's tokenizer"
            )

    def begin(self, x: Prefix) -> _Cache:
        return _Cache(self)


class _Cache(ModelFree):
    """One request's counts beside the session's."""

    def __init__(self, settings: NGramCache) -> None:
        self.settings, self._text, self._own = settings, Reading(), NGramCounts(settings.order)

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        known = self._text.read(x)
        if known == 0:
            self._own = NGramCounts(self.settings.order)
        self._own.add(self._text.ids, known)
        if self.settings.shared and known:  # written tokens only: the prompt is the next request's own business
            self.settings.dynamic.add(self._text.ids, known)
        draft, node, context = Draft(x), 0, self._text.ids[-self.settings.order :]
        for _ in range(self.settings.tokens):
            token = self._next(context)
            if token is None:
                break
            node = draft.add(node, token)
            context = [*context[-self.settings.order + 1 :], token] if self.settings.order > 1 else [token]
        return draft

    def _next(self, context: Sequence[int]) -> int | None:
        s = self.settings
        caches = [(self._own, _SURE), *([(s.dynamic, _VERY_SURE)] if s.shared else [])]
        for counts, sure in caches:
            for n in range(min(s.order, len(context)), 0, -1):
                tail = context[len(context) - n :]
                token = _best(counts.after(tail), s.static.after(tail) if s.static else [], *sure[min(n, 3)])
                if token is not None:
                    return token
        if s.static is not None:
            for n in range(min(s.static.order, len(context)), 0, -1):
                found = s.static.after(context[len(context) - n :])
                if found:
                    return found[0][0]
        return None


def _best(found: Sequence[tuple[int, int]], static: Sequence[tuple[int, int]], least: int, share: float) -> int | None:
    if not found:
        return None
    prior = dict(static)
    token, count = max(found, key=lambda entry: entry[1] * (1 + prior.get(entry[0], 0)))
    total = sum(number for _, number in found)
    return token if count >= least and count >= share * total else None
