"""Calls that are written with special tokens, where the vocabulary has them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from espalier.constraints.choices import choices
from espalier.constraints.guide import Guide
from espalier.constraints.regex import regex
from espalier.constraints.special import token


def either(guides: Sequence[Guide]) -> Guide:
    """The texts of any of the guides.

    >>> either([choices(["a"]), choices(["b"])]).matches(b"b")
    True
    """
    found = guides[0]
    for guide in guides[1:]:
        found = found | guide
    return found


def spelt(text: str, tokens: Collection[str]) -> Guide:
    """The guide of one text, in which the names of special tokens are these tokens.

    >>> from espalier.constraints import spelled
    >>> spelt("<|call|>", ["<|call|>"]).matches(spelled(3, "<|call|>")), spelt("<|call|>", []).matches(b"<|call|>")
    (True, True)
    """
    names = sorted((name for name in tokens if name in text), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, names))})", text) if names else [text]
    found: Guide | None = None
    for part in parts:
        if part or len(parts) == 1:
            guide: Guide = token(part) if part in names else choices([part])
            found = guide if found is None else found + guide
    assert found is not None
    return found


def messages(calls: Sequence[Guide], tokens: Collection[str], demanded: bool, most: int | None) -> Guide:
    """Harmony's messages up to the one that ends the turn: a call of a tool, or (unless one is `demanded`) a final text.

    Before it come thoughts and preambles, with `most` at most so many characters of them each (none where it is 0). The token
    that ends a call is left to the end tokens.
    """
    text = regex("(?s:.*)" if most is None or not demanded else f"(?s:.{{0,{most}}})")
    heads = [spelt(f"<|channel|>{channel}<|message|>", tokens) for channel in ("analysis", "commentary")]
    before = (either(heads) + text + spelt("<|end|><|start|>assistant", tokens)).repeat()
    call = spelt("<|channel|>commentary to=functions.", tokens) + either(calls)
    if demanded:
        return call if most == 0 else before + call
    final = spelt("<|channel|>final<|message|>", tokens) + text
    return before + (call | final)
