"""Drafts from a guide: bytes that must come next, written as tokens."""

from __future__ import annotations

from collections.abc import Generator
from copy import copy
from typing import TYPE_CHECKING, Any

from espalier.drafting.draft import Draft, Drafter, budget
from espalier.drafting.guided.forced_tokens import Encode, Outlook
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer
from espalier.text.vocab import Vocab

if TYPE_CHECKING:
    from espalier.constraints.guide import Guide


class Forced(Drafter):
    """A chain: the tokens of the bytes that the guide forces after x; where it forces none, what `otherwise` drafts.

    Guarantee: lossless. The bytes are certain, their split into tokens is not (`{"` may be one token or two), so the tokens
    are a draft like any other and the model has the last word. `encode` is the tokenizer's encoding of a text; without it
    each token is the longest that fits. At most `tokens` are drafted.

    Up to equal law: `speculate` with this drafter is `sample`, with fewer passes where the frame leaves no choice (Zheng et
    al. 2024, "SGLang", arXiv 2312.07104, jump to what must follow without asking the model at all; that changes the law).

    >>> import espalier as es
    >>> from espalier.text import Vocab
    >>> vocab = Vocab([b"a", b"b", b"ab", b"c", None], end=[4])
    >>> drafter = Forced(es.regex("ab(abc|abb)"), vocab)
    >>> drafter.draft(es.Prefix([0])).prefixes[-1].written()
    [2, 2]
    """

    def __init__(
        self, guide: Guide, vocab: Vocab, encode: Encode | None = None, otherwise: Drafter | None = None, tokens: int = 64
    ) -> None:
        budget(tokens=tokens)
        self.outlook, self.otherwise, self.limit = Outlook(guide, vocab, encode), otherwise, tokens
        self._asked = False  # whether the latest draft is the other drafter's
        if otherwise is not None:
            self.kind, self.want = otherwise.kind, otherwise.want

    @property
    def owner(self) -> Drafter:
        return self if self.otherwise is None else self.otherwise.owner

    def check(self, scorer: Scorer) -> None:
        self.outlook.check(scorer)
        if self.otherwise is not None:
            self.otherwise.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        if self.otherwise is None:
            return self
        fresh = copy(self)  # the outlook, and what it remembers of states, is shared
        fresh.otherwise = self.otherwise.begin(x)
        return fresh

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        draft = self.draft(x)
        self._asked = len(draft) == 0 and self.otherwise is not None
        if self._asked and self.otherwise is not None:
            draft = yield from self.otherwise.propose(x, rng)
        return draft

    def join(self, draft: Draft) -> None:
        if self._asked and self.otherwise is not None:
            self.otherwise.join(draft)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if self._asked and self.otherwise is not None:
            self.otherwise.observe(x, draft, rows)

    def draft(self, x: Prefix) -> Draft:
        """The forced draft below x."""
        draft = Draft(x)
        draft.extend(0, self.outlook.forced(self.outlook.state(x))[: self.limit])
        return draft
