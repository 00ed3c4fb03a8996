"""Chat templates: the jinja2 programs that models ship, run in a sandbox that counts time and memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser

from espalier.errors import EspalierError, InvalidInput
from espalier.text import template_limits
from espalier.text.template_limits import Bounded, Meter, metered

Message = Mapping[str, Any]
LONGEST = 1_000_000  # characters of a template


class _Generation(Extension):
    """The `{% generation %}` tag marks what the assistant said (for training); when rendering it is just its content."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes <, >, & and ' for HTML: models were trained on plain JSON.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise InvalidInput(f"the model's chat template refuses these messages: {str(message)[:1000]}")


@lru_cache(maxsize=32)
def _compiled(source: str) -> jinja2.Template:
    if len(source) > LONGEST:
        raise InvalidInput(f"the model's chat template has {len(source):,} characters; at most {LONGEST:,} are read")
    environment = Bounded(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.add_filter("tojson", _tojson)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return environment.from_string(source)


def render(source: str, messages: Sequence[Message], /, **variables: Any) -> str:
    """The text that a chat template makes of these messages (each a mapping with `role` and `content`).

    The template cannot reach anything but the variables it is given. Raises `InvalidInput` if it refuses the messages (say,
    roles that do not alternate) or cannot be run, whatever is wrong with it, and `LimitExceeded` if it takes more than five
    seconds, or makes more than fifty million characters.

    >>> render("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", [{"role": "user", "content": "Hi"}])
    '<user>Hi'
    """
    try:
        with metered(Meter(template_limits.SECONDS)):
            return _compiled(source).render({**variables, "messages": list(messages)})
    except EspalierError:
        raise
    except Exception as error:  # the template is a program that came with the model: it can fail in every way
        why = str(error)[:500] or type(error).__name__
        kind = "" if isinstance(error, jinja2.TemplateError | TypeError) else f"{type(error).__name__}: "
        raise InvalidInput(f"the model's chat template cannot be applied to these messages: {kind}{why}") from error


def with_cut(turns: Sequence[Message], cut: str) -> Message:
    """The last message with a mark at its end."""
    last = dict(turns[-1]) if turns else {}
    content = last.get("content")
    if isinstance(content, str):
        return {**last, "content": content + cut}
    parts = list(content) if isinstance(content, list | tuple) else []
    if parts and isinstance(parts[-1], Mapping) and isinstance(parts[-1].get("text"), str):
        return {**last, "content": [*parts[:-1], {**parts[-1], "text": parts[-1]["text"] + cut}]}
    raise InvalidInput("only a message that ends with text can be continued; its 'content' is to be a text")
