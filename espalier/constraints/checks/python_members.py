"""Members of Python objects, by jedi: after `obj.` only what the object has."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

from espalier.constraints.checks.monitor import monitor
from espalier.errors import LoadError


def python_members(project: str | Path | None = None, before: str = "", time_limit: float | None = 10.0) -> monitor:
    """The monitor of Python code: after a dot that follows a name, `)` or `]`, one of the members that jedi finds.

    `project` is the folder that imports are resolved in, `before` the code that the written one goes on from. Where jedi knows
    nothing of an object (or takes longer than `time_limit`), anything may follow; dots in strings, comments and numbers are
    none. Needs the package jedi (raises `LoadError` without it). Guarantee: as `monitor`; that jedi is right is not part of it.

    >>> guide = python_members(before="import math\\n")  # doctest: +SKIP
    >>> guide.matches(b"math.sqrt(2)"), guide.matches(b"math.squareroot(2)")  # doctest: +SKIP
    (True, False)
    """
    return monitor(after_dot, _Members(None if project is None else str(project)), before=before, time_limit=time_limit)


class _Members:
    """Asks jedi for the members at the end of a code; can be pickled."""

    def __init__(self, project: str | None) -> None:
        try:
            import jedi
        except ImportError:
            raise LoadError("python_members needs the package jedi: pip install jedi") from None
        self.folder = project
        self._project = None if project is None else jedi.Project(project)

    def __call__(self, code: str) -> list[str]:
        import jedi

        lines = code.split("\n")
        found = jedi.Script(code, project=self._project).complete(len(lines), len(lines[-1]))
        return [completion.name for completion in found]

    def __reduce__(self) -> tuple[type[_Members], tuple[str | None]]:
        return _Members, (self.folder,)


def after_dot(code: str) -> bool:
    """Whether the code ends with a dot after a name, `)` or `]`, outside strings and comments.

    >>> after_dot("a = shape."), after_dot("a = 1."), after_dot("# shape."), after_dot("x = 's."), after_dot("f(x).")
    (True, False, False, False, True)
    """
    if not code.endswith(".") or len(code) < 2 or not (code[-2].isalnum() or code[-2] in "_)]"):
        return False
    tokens: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            tokens.append(token)
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # brackets that are still open
    if any(token.type == tokenize.ERRORTOKEN and token.string in "'\"" for token in tokens):
        return False  # inside a string that has not ended
    solid = [token for token in tokens if token.string.strip()]
    if len(solid) < 2 or solid[-1].string != "." or solid[-1].end != (code.count("\n") + 1, len(code.rpartition("\n")[2])):
        return False
    return solid[-2].type == tokenize.NAME or solid[-2].string in (")", "]")
