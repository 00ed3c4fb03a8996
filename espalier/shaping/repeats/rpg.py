"""RPG: a repeat of structure, as a grammar sees it, makes its next copy less likely and the end of the text more."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from espalier.constraints.guide import Guide
from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage
from espalier.shaping.history import History
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint

_LONGEST = 64  # tokens of a unit whose repeats are seen


@dataclass(frozen=True, slots=True)
class Runs:
    """For each period r up to a limit: for how many tokens each was the one r before it, in a sequence whose end this is."""

    last: tuple[Any, ...] = ()
    runs: tuple[int, ...] = ()

    def __add__(self, item: Any) -> Runs:
        again = [item == earlier for earlier in reversed(self.last)]
        before = (*self.runs, *[0] * (len(again) - len(self.runs)))
        runs = tuple(run + 1 if same else 0 for run, same in zip(before, again, strict=True))
        return Runs((*self.last, item)[-_LONGEST:], runs)

    def repeat(self, varied: bool = False) -> tuple[int, int]:
        """The shortest period that has come twice and how many copies followed the first; (0, 0) if there is none.

        `varied`: only periods with two different items."""
        for period, run in enumerate(self.runs, 1):
            if run >= period and not (varied and len(set(self.last[-period:])) < 2):
                return period, run // period
        return 0, 0


@dataclass(frozen=True, slots=True)
class Structure:
    """Where the text is in the guide, and what repeats: its tokens, and the guide's states after them."""

    state: Any
    tokens: Runs = Runs()
    states: Runs = Runs()


class rpg(History[Structure]):
    """Lowers the token that would start another copy of what repeats by n · log(1/decay), after n copies of the first.

    What repeats is a run of tokens, or a run of the guide's states: other words in the same rules, a line of code of the same
    form. The token is the first of the last copy. Where the guide lets the text end there, end tokens gain n ·
    log(1/end_boost). Units of up to 64 tokens are seen. decay = end_boost = 1 changes nothing. The guide is only followed:
    constrain with `* guide`. Period and copies are counted in our guide's states, not by the authors' rules for Python; amounts
    are taken off logits as logs, where theirs scale logits of either sign. Dong et al. 2025, "Rethinking repetition problems of
    LLMs in code generation" (arXiv 2505.10402).

    >>> import espalier as es
    >>> vocab = Vocab([b"a", b"b", b";", None], end=[3])
    >>> rule = rpg(es.regex("([ab];)*"), decay=0.5, end_boost=0.5).bound(vocab)
    >>> x = Prefix([0]) + 0 + 2 + 1 + 2  # "a;b;": the second line has the form of the first
    >>> (rule(torch.zeros(1, 4), [x]) / math.log(2)).tolist()
    [[0.0, -1.0, 0.0, 1.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, guide: Guide | TokenConstraint, decay: float = 0.9, end_boost: float = 0.8) -> None:
        if not isinstance(guide, Guide | TokenConstraint):
            raise InvalidInput(f"rpg({guide!r}): expected a guide, such as es.cfg(grammar) or es.json_schema(…)")
        require(0 < decay <= 1, f"decay={decay}: a factor per copy, above 0 and at most 1; 0.9 is usual, 1 changes nothing")
        require(0 < end_boost <= 1, f"end_boost={end_boost}: a factor per copy, above 0 and at most 1; 0.8 is usual")
        self.guide, self.decay, self.end_boost = guide, decay, end_boost
        self._law: TokenConstraint | None = guide if isinstance(guide, TokenConstraint) else None
        self._end: frozenset[int] = frozenset()

    def bound(self, vocab: Vocab | None) -> Shaper:
        if self._law is not None and (self._end or vocab is None):
            return self
        if vocab is None:
            raise InvalidInput("rpg follows a guide over bytes, but this scorer has no vocabulary; give it one (model.vocab)")
        new = rpg(self.guide, self.decay, self.end_boost)
        new._law = self._law or self.guide.over(vocab)  # type: ignore[union-attr]
        new._end = vocab.end
        return new

    @property
    def law(self) -> TokenConstraint:
        """The guide on the scorer's tokens."""
        require(self._law is not None, "rpg follows a guide over bytes: write scorer | rpg(guide)")
        assert self._law is not None
        return self._law

    def begin(self, x: Prefix) -> Structure:
        return Structure(self.law.start())

    def step(self, state: Structure, token: int) -> Structure:
        after = self.law.advance(state.state, token) if state.state is not None else None
        states = Runs() if after is None else state.states + after
        return replace(state, state=after, tokens=state.tokens + token, states=states)

    def shape(self, row: Tensor, state: Structure) -> Tensor:
        found: dict[int, int] = {}
        for runs, varied in ((state.tokens, False), (state.states, True)):
            period, copies = runs.repeat(varied)
            if copies:
                token = state.tokens.last[-period]
                found[token] = max(found.get(token, 0), copies)
        if not found:
            return row
        row = row.clone()
        for token, copies in found.items():
            row[token] += copies * math.log(self.decay)
        if self._end and state.state is not None and any(self.law.allowed(state.state, end) for end in self._end):
            at = torch.tensor(sorted(self._end), device=row.device)
            row[at] -= max(found.values()) * math.log(self.end_boost)
        return row
