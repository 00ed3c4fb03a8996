"""Free text with tagged regions inside: structural tags, and tool calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.constraints.cfg.cfg import of_rules
from espalier.constraints.cfg.readers.rules import Instruction, Rule, Rules
from espalier.constraints.cfg.readers.scan import complement
from espalier.constraints.guide import Guide, Limits, MachineGuide
from espalier.errors import require, utf8


@dataclass(frozen=True)
class Tag:
    """A region: it begins with `begin`, holds a text of `content`, and ends with `end`.

    >>> import espalier as es
    >>> Tag("<n>", es.regex("[0-9]+"), "</n>").content.matches(b"12")
    True
    """

    begin: str
    content: Guide
    end: str


def tags(
    regions: Sequence[Tag],
    triggers: Sequence[str] | None = None,
    *,
    excludes: Sequence[str] = (),
    at_least_one: bool = False,
    stop_after_first: bool = False,
    limits: Limits | None = None,
) -> MachineGuide:
    """The guide of free text in which a trigger opens a region that must then be written to its end.

    In free text anything may be written but `excludes`. As soon as a trigger is complete, the text goes on as a region whose
    `begin` starts with that trigger, and is free again after its `end`. `triggers` are the regions' own beginnings if left
    out. The text may end wherever it is free; with `at_least_one` only after a region, with `stop_after_first` it ends with
    the first region.

    Guarantee: exact if the contents are, over bytes: a token may hold the end of the free text, a trigger and the beginning
    of the content. Raises `InvalidInput` for a trigger that opens nothing and for a region that nothing opens.

    >>> import espalier.constraints as es
    >>> guide = tags([Tag("<n>", es.regex("[0-9]+"), "</n>")])
    >>> guide.matches(b"one <n>1</n> and 1 < 2"), guide.advance(guide.start(), b"one <n>o")
    (True, None)
    """
    openers = list(dict.fromkeys(triggers if triggers is not None else [tag.begin for tag in regions]))
    # a trigger that holds another one is never completed: the inner one is complete before
    openers = [t for t in openers if not any(other != t and other in t[:-1] + "\0" for other in openers)]
    require(bool(regions) and all(openers), "tags need at least one region, and triggers that are not empty")
    for text in (*openers, *excludes, *(part for tag in regions for part in (tag.begin, tag.end))):
        utf8(text, "tags: the text")
    for opener in openers:
        require(
            any(tag.begin.startswith(opener) for tag in regions),
            f"the trigger {opener!r} opens nothing: no region's beginning starts with it; "
            f"the regions begin with {', '.join(repr(t.begin) for t in regions)}",
        )
    for tag in regions:
        require(
            any(tag.begin.startswith(opener) for opener in openers),
            f"nothing opens the region {tag.begin!r}: no trigger is at its beginning; add triggers=[…, {tag.begin[:1]!r}]",
        )
    rules = Rules(dialect="tags")
    rules.add(Rule("tags", False, _whole(at_least_one, stop_after_first)))
    rules.add(Rule("free", False, _free(openers, excludes, None)))
    opened: list[Instruction] = []
    for opener in openers:
        fitting = [tag for tag in regions if tag.begin.startswith(opener)]
        opened += _free(openers, excludes, opener)
        for tag in fitting:
            opened += [("bytes", tag.begin[len(opener) :].encode()), ("guide", tag.content), ("bytes", tag.end.encode())]
            opened.append(("cat", 3))
        opened += [("alt", len(fitting)), ("cat", 2)]
    rules.add(Rule("region", False, [*opened, ("alt", len(openers))]))
    guide = of_rules(rules, "tags", limits)
    options = {"excludes": excludes or None, "at_least_one": at_least_one, "stop_after_first": stop_after_first}
    return guide.by(tags, regions, triggers=triggers, limits=limits, **options)


def _whole(at_least_one: bool, stop_after_first: bool) -> list[Instruction]:
    region: list[Instruction] = [("ref", "region")]
    free: list[Instruction] = [("ref", "free")]
    if stop_after_first:
        return region if at_least_one else [*region, *free, ("alt", 2)]
    return [*region, ("repeat", int(at_least_one), None), *free, ("cat", 2)]


_CHARACTER: Instruction = ("ranges", complement([]))


def _free(openers: Sequence[str], excludes: Sequence[str], until: str | None) -> list[Instruction]:
    """Text without a trigger and without anything excluded; with `until`, up to that trigger's end and no other before."""
    made: list[Instruction] = [_CHARACTER, ("repeat", 0, None)]
    if until is not None:
        made += [("bytes", until.encode()), ("cat", 2)]
    for words, more in ((openers, int(until is not None)), (excludes, 0)):
        if words:
            made += [_CHARACTER, ("repeat", 0, None), *(("bytes", word.encode()) for word in words), ("alt", len(words))]
            made += [_CHARACTER, ("repeat", more, None), ("cat", 3), ("minus",)]
    return made


__all__ = ["Tag", "tags"]
