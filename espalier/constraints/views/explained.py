"""What a guide, or a schema, does: part by part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, overload

from espalier.constraints.compiled.engines import Branches, Chain, NativeMachine, Repetition, Side
from espalier.constraints.compiled.leaf import Leaf
from espalier.constraints.compiled.watched import Timed, Watched
from espalier.constraints.guide import Guide, Term
from espalier.constraints.schema import explain as schemas
from espalier.constraints.schema.explain import Keyword


class Part(NamedTuple):
    """A part of a guide: how it is written, how deep it stands, how it runs, and how exact it is, with the reason."""

    term: str
    depth: int
    runs: str
    exactness: str
    why: str = ""

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{self.term}: {self.runs}, {self.exactness}{f' ({self.why})' if self.why else ''}"


@overload
def explain(given: Guide, *, formats: str = "assert") -> list[Part]: ...
@overload
def explain(given: Any, *, formats: str = "assert") -> list[Keyword]: ...
def explain(given: Any, *, formats: str = "assert") -> list[Part] | list[Keyword]:
    """What a guide does, part by part; or, for a schema, what is done with each of its keywords.

    Of a guide: every part, the whole first, with how it runs (a regular expression, a native machine, side by side, in Python)
    and whether it is exact, and if not why. Of a schema (a dict, JSON text, a type): its keywords in their order, "enforced",
    "approximated" (and why) or "annotation"; see `espalier.constraints.schema.explain`.

    >>> import espalier as es
    >>> for part in explain(es.regex("a+") & es.json_schema({"uniqueItems": True})):
    ...     print(part)
    regex('a+') & json_schema('{"uniqueItems": true}'): side by side, over (& of guides that are not both regular)
      regex('a+'): a regular expression, exact
      json_schema('{"uniqueItems": true}'): a native machine, over (uniqueItems decided late)
    >>> [(k.keyword, k.treatment) for k in explain({"type": "string", "format": "date", "title": "When"})]
    [('type', 'enforced'), ('format', 'enforced'), ('title', 'annotation')]
    """
    if isinstance(given, Guide):
        return list(_parts(given, 0))
    return schemas.explain(given, formats=formats)


def _parts(guide: Guide, depth: int) -> Iterator[Part]:
    exactness = guide.engine.exactness
    yield Part(repr(guide), depth, _runs(guide.engine), exactness, _why(guide) if exactness != "exact" else "")
    for name in ("a", "b", "item"):
        inner = getattr(guide, name, None)
        if isinstance(inner, Guide):
            yield from _parts(inner, depth + 1)


def _runs(engine: Any) -> str:
    if isinstance(engine, Timed):
        return f"{_runs(engine.inner)} with a deadline"
    if isinstance(engine, Watched):
        return f"{_runs(engine.inner)}, progress counted"
    if isinstance(engine, NativeMachine):
        return "a native machine" if engine.expression is None else "a regular expression"
    if isinstance(engine, Side):
        return "side by side"
    kinds = {Branches: "either, in Python", Chain: "one after the other, in Python", Repetition: "repeated, in Python"}
    kinds |= {Leaf: "written in Python"}
    return kinds.get(type(engine), "in Python") + (", by checks alone" if engine.lazy else "")


def _why(guide: Guide) -> str:
    late = sorted(getattr(guide, "inexact", ()))
    if late:
        return f"{', '.join(late)} decided late"
    if isinstance(guide.engine, Side):
        return "& of guides that are not both regular"
    if isinstance(guide, Term):
        return "a part of it is"
    return "it says so"
