"""Healing: going on from a prompt as if its last token did not end where the prompt's text ends."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from espalier import _grammar
from espalier.constraints.choices import choices
from espalier.constraints.guide import Guide, MachineGuide
from espalier.constraints.regex import regular
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint


class Healed(NamedTuple):
    """A healed prompt: its tokens, what restricts the text after them, and the bytes that this text begins with."""

    tokens: list[int]
    guide: Guide | None
    removed: bytes


def heal(tokens: Sequence[int], vocab: Vocab, guide: Guide | TokenConstraint | None = None, most: int = 16) -> Healed:
    r"""The prompt's tokens without the last few, and a guide that makes the text go on with the bytes these wrote.

    A prompt that ends with `http:` ends with a token `:`, but a model that learnt `://` as one token never saw `:` followed
    by `//`: going on from it is going on from a text nobody writes. Healing takes tokens off the end while a token of the
    vocabulary begins with their bytes and writes more, and forces those bytes at the beginning of what is generated.

    Law: with `kept, g, removed = heal(tokens, vocab)`, sampling from `model * g` after `kept` restricts every row to the
    tokens that agree with the removed bytes, until these are written; from then on rows are the model's own. If single tokens
    cover the removed text this is exactly the model's law given that its text begins with those bytes; over several tokens it
    is that law with rows renormalised one by one, as for any guide. The text after `kept` always begins with the removed
    bytes; the first `len(removed)` bytes of the completion are the prompt's, not new.

    `guide`, if given, restricts the text after the prompt as before (it does not see the removed bytes). Special tokens are
    never taken off, nor is the first token. With nothing to heal the tokens come back unchanged, with `guide` as it was.

    >>> vocab = Vocab([b"http", b":", b"://", b"/", b"a", None], end=[5])
    >>> kept, g, removed = heal([0, 1], vocab)
    >>> kept, removed, g.matches(b"://a"), g.matches(b"a")
    ([0], b':', True, False)
    """
    if isinstance(guide, TokenConstraint):
        raise InvalidInput(
            f"healing works on bytes, and {type(guide).__name__} is a constraint on tokens; give a guide instead"
        )
    cut = len(tokens)
    removed = b""
    longer = _Continues(vocab)
    for back in range(1, min(most, len(tokens) - 1) + 1):
        piece = vocab[tokens[-back]]
        if not piece:
            break
        tail = piece + b"".join(vocab[t] for t in tokens[len(tokens) - back + 1 :])
        if longer(tail):
            cut, removed = len(tokens) - back, tail
    if cut == len(tokens):
        return Healed(list(tokens), guide, b"")
    return Healed(list(tokens[:cut]), healing(removed, guide), removed)


def healing(end: str | bytes, guide: Guide | None = None) -> Guide:
    """The guide of the texts that begin with `end`, the bytes of a prompt that were taken off it, and go on as `guide` says.

    For a prompt's tokens there is `heal`, which also chooses how many to take off.

    >>> from espalier.constraints import regex
    >>> healing(":", regex("//[a-z]+")).matches(b"://host")
    True
    """
    return choices([end]) + (guide if guide is not None else anything())


def anything() -> MachineGuide:
    r"""The guide of every byte string that stands for text; the bytes need not be whole characters (0xFF is in none).

    >>> anything().matches(b"\xc3"), anything().matches(b"")
    (True, True)
    """
    return regular(_grammar.re_repeat(_grammar.re_bytes([(0, 0xFE)]), 0, _grammar.INF), "anything").by(anything)


class _Continues:
    """Whether some token begins with these bytes and writes more than them."""

    def __init__(self, vocab: Vocab) -> None:
        self.tokens = sorted(set(vocab.tokens) - {b""})

    def __call__(self, data: bytes) -> bool:
        at = bisect_right(self.tokens, data)
        return at < len(self.tokens) and self.tokens[at].startswith(data)
