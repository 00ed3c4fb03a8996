"""Special tokens as parts of guides: they write nothing, and stand for themselves."""

from __future__ import annotations

from espalier import _grammar
from espalier.constraints.guide import Guide, MachineGuide
from espalier.constraints.regex import regex, regular
from espalier.constraints.special_bytes import spelled
from espalier.errors import require, utf8


def token(name: str | int) -> MachineGuide:
    r"""The guide of one special token, by its name or its id: `<think>`, `[TOOL_CALLS]`, a sentinel of fill-in-the-middle.

    Guarantee: the token is allowed, and no text that spells its name. Over bytes it is written as `special_bytes.spelled`
    says: text never holds these bytes. A vocabulary without the token allows nothing in its place.

    >>> from espalier.text.vocab import Vocab
    >>> vocab = Vocab([b"<think>", b"a", None, None], end=[3], names={2: "<think>"})
    >>> law = (token("<think>") + regex("a")).over(vocab)
    >>> law.mask(law.start()).tolist()
    [False, False, True, False]
    """
    require(isinstance(name, (str, int)) and name != "", f"token({name!r}): give the name of a special token, or its id")
    written = str(name).encode() if isinstance(name, int) else utf8(name, "the token")
    digits = _grammar.re_repeat(_grammar.re_bytes([(48, 57)]), 1, 10)
    inner = _grammar.re_repeat(_grammar.re_bytes([(0, 0xFE)]), 0, _grammar.INF)
    number = _grammar.re_literal(written) if isinstance(name, int) else digits
    word = inner if isinstance(name, int) else _grammar.re_literal(written)
    expression = _grammar.re_literal(b"\xff[")
    for part in (number, _grammar.re_literal(b"]"), word, _grammar.re_literal(b"\xff")):
        expression = _grammar.re_cat(expression, part)
    return regular(expression, f"token {name}").by(token, name)


def thinking(*, then: Guide, most: int | None = None, open: str = "<think>", close: str = "</think>") -> Guide:
    """The guide of a region of free thought between two special tokens, and then a text of `then`.

    With `most` the thought has at most so many characters. The text of the region may spell anything but is closed by the
    token alone.

    >>> guide = thinking(then=regex("[a-z]+"), most=5)
    >>> guide.matches(spelled(0, "<think>") + b"hm" + spelled(1, "</think>") + b"ok")
    True
    """
    require(isinstance(then, Guide), f"thinking(then={then!r}): give a guide, such as es.regex('[a-z]+')")
    require(most is None or most >= 0, f"most={most}: how many characters of thought, 0 or more")
    thought = regex(f"(?s:.{{0,{'' if most is None else most}}})")
    return token(open) + thought + token(close) + then


__all__ = ["spelled", "thinking", "token"]
