"""Free text with regions, and words that must or must not occur: compared with what the words say, text by text."""

from __future__ import annotations

import re

import pytest

import espalier.constraints as es
from espalier.constraints.tags import Tag, tags
from espalier.constraints.tools import tool_calls
from espalier.constraints.words.lexical import avoids, contains
from espalier.errors import InvalidInput
from tests.constraints.cfg_oracle import strings


def agree(guide: es.Guide, texts: set[str], begun: set[str], alphabet: str, n: int) -> None:
    for s in strings(alphabet, n):
        state = guide.advance(guide.start(), s.encode())
        assert (state is not None) == (s in begun), s
        assert (state is not None and guide.accepts(state)) == (s in texts), s


def scan(s: str, least: bool, first: bool, bad: str = "") -> tuple[bool, bool]:
    """Reads a text by hand: regions <a*> opened by "<"; whether it is a text, and whether it is the beginning of one."""
    at, seen, free = 0, False, ""
    while at < len(s):
        if seen and first:
            return False, False
        if s[at] != "<":
            free += s[at]
            at += 1
            if bad and bad in free:
                return False, False
            continue
        inside = re.compile("<(a*)(>?)").match(s, at)
        assert inside is not None
        if not inside[2]:
            return False, inside.end() == len(s)
        at, seen, free = inside.end(), True, ""
    return seen if least else True, True


@pytest.mark.parametrize("least", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_regions(least: bool, first: bool) -> None:
    guide = tags([Tag("<", es.regex("a*"), ">")], at_least_one=least, stop_after_first=first)
    assert guide.exactness == "exact"
    read = {s: scan(s, least, first) for s in strings("a<>", 6)}
    if least and first:  # free text after the only region is impossible, so a text ends with it
        read = {s: (whole and s.endswith(">") and s.count("<") == 1, begun) for s, (whole, begun) in read.items()}
    agree(guide, {s for s in read if read[s][0]}, {s for s in read if read[s][1]}, "a<>", 6)


def test_excluded_words_never_occur_in_free_text() -> None:
    guide = tags([Tag("<", es.regex("[ab]*"), ">")], excludes=["ab"])
    assert guide.matches(b"a<ab>b<abab>a")
    assert guide.advance(guide.start(), b"a<a>ab") is None


def test_a_trigger_chooses_among_regions_that_begin_with_it() -> None:
    guide = tags([Tag("<f=x>", es.regex("1+"), "</f>"), Tag("<f=y>", es.cfg('s ::= "(" s ")" | ""'), "</f>")], ["<f="])
    assert guide.matches(b"so <f=x>11</f> and <f=y>(())</f>, < f")
    assert guide.forced(guide.advance(guide.start(), b"a <f=x")) == b">1"
    for wrong in (b"<f=z", b"<f=x>(", b"<f=y>(</f>", b"<f=x></f>"):
        assert guide.advance(guide.start(), wrong) is None
    overlapping = tags([Tag("<<", es.regex("a"), ">"), Tag("<b", es.regex("a"), ">")])
    assert overlapping.matches(b"<c<<a>")
    assert overlapping.matches(b"<ba>")


def test_tags_that_cannot_work() -> None:
    with pytest.raises(InvalidInput, match="opens nothing"):
        tags([Tag("<a>", es.regex("a"), "")], ["<a>", "<b>"])
    with pytest.raises(InvalidInput, match="nothing opens"):
        tags([Tag("<a>", es.regex("a"), ""), Tag("[b]", es.regex("a"), "")], ["<"])
    with pytest.raises(InvalidInput, match="at least one region"):
        tags([])


def test_tool_calls() -> None:
    def weather(city: str, days: int = 1) -> None: ...

    guide = tool_calls({"weather": weather, "now": {"type": "object", "additionalProperties": False}}, at_least_one=True)
    call = b'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>'
    assert guide.matches(call)
    assert guide.matches(b'<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>' + call)
    assert not guide.matches(b"no call at all")
    assert guide.advance(guide.start(), b'<tool_call>\n{"name": "weather", "arguments": {"city": 1') is None


def test_words_that_must_and_must_not_occur() -> None:
    n = 6
    for phrases in (["ab"], ["ab", "ba"], ["aa", "aaa"], ["b", "ab", "bb"]):
        every, none = contains(*phrases), avoids(*phrases)
        texts = set(strings("ab", n))
        agree(every, {s for s in texts if all(p in s for p in phrases)}, texts, "ab", n)
        free = {s for s in texts if not any(p in s for p in phrases)}
        agree(none, free, free, "ab", n)
    both = contains("ab") & avoids("ba")
    assert both.matches("\u00e9ab\u00e9".encode())
    assert not both.matches(b"aba")
    with pytest.raises(InvalidInput, match="at least one phrase"):
        contains()
    with pytest.raises(InvalidInput, match="empty"):
        avoids("")
