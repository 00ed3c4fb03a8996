"""The interface of verifiers, and which drafters go with which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, TypeAlias

from espalier.drafting.draft import Draft, Drafter, Kind
from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows

Guarantee: TypeAlias = Literal["greedy", "sampling", "lossy"]
ANY: frozenset[Kind] = frozenset({"deterministic", "with replacement", "without replacement"})


class Verifier(ABC):
    """A pure function: a draft and the target's rows for its prefixes → the accepted path and one more token.

    `guarantee`: "greedy" = the same tokens as taking the most probable token at each step; "sampling" = the same law as
    drawing each token from its row (with temperature 0 that is greedy too); "lossy" = neither.
    `accepts`: the kinds of draft for which the guarantee holds, and `why` it does not for the others.

    >>> import espalier as es
    >>> es.verification.Rejection().guarantee, es.verification.KSeq().accepts
    ('sampling', frozenset({'with replacement'}))
    """

    guarantee: ClassVar[Guarantee]
    accepts: ClassVar[frozenset[Kind]] = ANY
    why: ClassVar[str] = ""
    want: frozenset[str] = frozenset()

    def asides(self, draft: Draft) -> Sequence[Prefix]:
        """Prefixes besides the draft's that the target's pass is to score as well; their rows come after the draft's."""
        return ()

    @abstractmethod
    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        """The accepted nodes of the draft from the top, then one prefix that goes a token further; never empty.

        Lazy: a decoder that stops at an accepted node asks for no more, so nothing is drawn past the end of a text."""


def check_pair(drafter: Drafter, verifier: Verifier) -> None:
    """Raise `InvalidInput` if the verifier's guarantee does not hold for this drafter's drafts.

    >>> import espalier as es
    >>> check_pair(es.drafting.PromptLookup(), es.verification.SampleMatch())
    """
    expect(drafter, Drafter, "the drafter", "one such as es.drafting.PromptLookup()")
    expect(verifier, Verifier, "the verifier", "one such as es.verification.SampleMatch()")
    if drafter.kind not in verifier.accepts:
        raise InvalidInput(
            f"{type(verifier).__name__} was given {type(drafter.owner).__name__}, whose drafts are {drafter.kind}, but it is "
            f"made only for drafts that are {' or '.join(sorted(verifier.accepts))} "
            f"{f'({verifier.why}); ' if verifier.why else ''}es.verification.SampleMatch() accepts every draft"
        )
