"""The catalogue: every name that people type (drafters, verifiers, shapers, decoders), with an example of each.

One line makes a method reachable from `lm.generate`, from the command line and from the law tests. Nothing is imported before
it is asked for.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from espalier.errors import InvalidInput

Kind = Literal["drafter", "verifier", "shaper", "decoder"]


@dataclass(frozen=True)
class Entry:
    """One name: its kind, the callable behind it ("module:name"), example arguments as people type them, and what it needs.

    `needs`: what nobody can type, the first arguments in this order: "model", the target, "vocab_size", its number of tokens,
    "lm", a language model (or a scorer), "prompt", "guide", and others that only code can give.

    >>> find("shaper", "top_p").make("0.9").p
    0.9
    >>> find("shaper", "contrast").needs
    ('model', 'amateur')
    """

    kind: Kind
    name: str
    where: str
    example: str = ""
    needs: tuple[str, ...] = ()

    @property
    def callable(self) -> Callable[..., Any]:
        """What is behind the name."""
        module, _, attribute = self.where.partition(":")
        made: Callable[..., Any] = getattr(import_module(module), attribute)
        return made

    @property
    def arguments(self) -> str:
        """The arguments that may be typed, with their defaults, as in a signature."""
        parameters = list(inspect.signature(self.callable).parameters.values())[len(self.needs) :]
        return ", ".join(str(p).split(":")[0] + ("" if p.default is p.empty else f"={p.default!r}") for p in parameters)

    def make(self, arguments: str = "", model: Any = None, **objects: Any) -> Any:
        """The object for arguments as people type them: "8", "0.8, base=1.75". Raises `InvalidInput` for others.

        `model` and `objects` are what it may need; a bare word among the arguments that is the name of one stands for it.
        """
        if model is not None:
            objects = {"lm": model, "vocab_size": model.vocab_size} | objects | {"model": model}
        positional, named = _read(self, arguments, objects)
        if missing := [name for name in self.needs if objects.get(name) is None]:
            raise InvalidInput(self._missing(missing))
        positional = [objects[name] for name in self.needs] + positional
        try:
            inspect.signature(self.callable).bind(*positional, **named)
        except TypeError as error:
            raise InvalidInput(f"{self.name}:{arguments}: {error}; its arguments are ({self.arguments})") from error
        return self.callable(*positional, **named)

    def _missing(self, missing: list[str]) -> str:
        if missing == ["guide"]:
            return f"{self.kind} {self.name!r} follows the guide of a request, and this one has none; give regex= or grammar="
        if "model" in missing or "lm" in missing or "vocab_size" in missing:
            return f"{self.kind} {self.name!r} needs the model it works on; pass it where a model is at hand"
        module, _, attribute = self.where.removeprefix("espalier.").partition(":")
        return (
            f"{self.kind} {self.name!r} needs {' and '.join(missing)}, which cannot be typed; build it: "
            f"scorer=es.{module}.{attribute}({', '.join(self.needs)}, {self.arguments})"
        )

    def typical(self, model: Any = None, **objects: Any) -> Any:
        """The object for the example arguments."""
        return self.make(self.example, model, **objects)


def _read(entry: Entry, arguments: str, objects: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
        assert isinstance(call, ast.Call)
        return [_value(a, objects) for a in call.args], {str(k.arg): _value(k.value, objects) for k in call.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise InvalidInput(
            f"{entry.name}:{arguments}: the arguments are written as in a call, such as {entry.name}:{entry.example or '8'}"
        ) from error


def _value(node: ast.expr, objects: Mapping[str, Any]) -> Any:
    return objects.get(node.id, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)


def _entries() -> Iterator[Entry]:
    for line in _TABLE.strip().splitlines():
        kind, name, where, *rest = line.split("|")
        example, needs = ([part.strip() for part in rest] + ["", ""])[:2]
        first = tuple(part.strip() for part in needs.split(",") if part.strip())
        yield Entry(kind.strip(), name.strip(), f"espalier.{where.strip()}", example, first)  # type: ignore[arg-type]


# kind | name | where | example arguments | what it needs, as its first arguments
_TABLE = """
drafter  | auto        | drafting:Auto
drafter  | lookup      | drafting:PromptLookup
drafter  | recycling   | drafting:TokenRecycling
drafter  | cache       | drafting:NGramCache
drafter  | cascade     | drafting.compose:lookup_then_recycling
drafter  | fuse        | drafting.compose:lookup_and_recycling
drafter  | lookahead   | drafting:Lookahead
drafter  | quantised   | drafting:quantised      |            | model
drafter  | jacobi      | drafting:Jacobi
drafter  | hierarchy   | drafting:Hierarchy
drafter  | aded        | drafting:ADED
drafter  | dresd       | drafting:DReSD
drafter  | stand       | drafting:STAND          |            | vocab_size
verifier | sample_match| verification:SampleMatch
verifier | greedy_match| verification:GreedyMatch
verifier | rejection   | verification:Rejection
verifier | block       | verification:Block
verifier | kseq        | verification:KSeq
verifier | typical     | verification:Typical
shaper   | temperature | shaping:temperature     | 0.7
shaper   | top_k       | shaping:top_k           | 3
shaper   | top_p       | shaping:top_p           | 0.9
shaper   | min_p       | shaping:min_p           | 0.1
shaper   | typical     | shaping:typical         | 0.6
shaper   | epsilon     | shaping:epsilon         | 0.1
shaper   | eta         | shaping:eta             | 0.1
shaper   | top_n_sigma | shaping:top_n_sigma     | 0.8
shaper   | top_h       | shaping:top_h           | 0.7
shaper   | xtc         | shaping:xtc             | 0.2, 0.5
shaper   | mirostat    | shaping:mirostat        | 1.0, 0.4
shaper   | dynamic_temperature | shaping:dynamic_temperature | 0.5, 1.5, 1.2
shaper   | repetition  | shaping:repetition      | 1.2
shaper   | presence    | shaping:presence        | 0.5
shaper   | frequency   | shaping:frequency       | 0.5
shaper   | penalty     | shaping:penalty         | 1.5, window=2, length_weight=0.5, length=3
shaper   | bias        | shaping:bias            | {1: 1.0}
shaper   | sequence_bias | shaping:sequence_bias | {"ab": 1.0, (0, 0): -1.0}
shaper   | ban         | shaping:ban             | "bb"
shaper   | end_decay   | shaping:end_decay       | 1, 1.3
shaper   | self_terminating | shaping:self_terminating | 0.1, relative=True
shaper   | watermark   | shaping:watermark       | key=3, gamma=0.4, delta=1.5
shaper   | no_repeat   | shaping:no_repeat       | 2
shaper   | dry         | shaping:dry             | 0.8, 1.5, allowed=1, breakers=(1,)
shaper   | momentum    | shaping:momentum        | 3, 0.2, (0, 1, 2)
shaper   | fsd         | shaping:fsd             | k=3, alpha=0.45 | model
shaper   | contrastive_search | shaping:contrastive_search | k=3, alpha=0.5 | model
shaper   | look_back   | shaping:look_back       | alpha=0.3, k=2, window=3 | model
shaper   | dola        | shaping:dola            | "high", alpha=0.05 | model
shaper   | deco        | shaping:deco            | alpha=0.6, top_k=3 | model
shaper   | dfd         | shaping:dfd             | base=1.1, sigma=0.25 | model
shaper   | adadec      | shaping:adadec          | 0.9, beams=2, ahead=2 | model
shaper   | value       | shaping:value           | 0.5, 3 | model, V
shaper   | router      | shaping:router          | 1.2, window=2, dwell=1 | small, model
shaper   | rpg         | shaping:rpg             | 0.5, 0.5 | guide
shaper   | combine     | shaping:combine         | (0.7, 0.4), head=(0, 0.05) | parts
shaper   | contrast    | shaping:contrast        | alpha=0.2 | model, amateur
shaper   | proxy       | shaping:proxy           | a=0.5 | model, tuned, base
shaper   | guidance    | shaping:guidance        | negative, 1.5 | lm
shaper   | context_aware | shaping:context_aware | 0.5 | lm, context, question
shaper   | instructive | shaping:instructive     | shuffled, 0.3 | lm, prompt
shaper   | lqcd        | shaping:lqcd            | leading, 0.7 | lm
shaper   | adversarial | shaping:adversarial     | safe, opposite, 0.4 | lm
shaper   | aed         | shaping:aed             | assistant, bias=0.1, first=2, size=2 | lm
decoder  | sample      | decoders:Sample
decoder  | beam        | decoders:Beam           | 3
decoder  | best_first  | decoders:BestFirst      | 3
decoder  | stochastic  | decoders:StochasticBeam | 3
decoder  | lattice     | decoders:Lattice        | 200
decoder  | markov      | decoders:Markov         | 2, 16
decoder  | superposed  | decoders:Superposed     | 3, alpha=0
decoder  | smc         | decoders:SMC            | 8
decoder  | best_of     | decoders:BestOf         | 4
decoder  | adadec      | decoders:AdaDec         | 0.9, beams=2, ahead=2
"""


def names(kind: Kind) -> list[str]:
    """The names of a kind, in the order of the catalogue.

    >>> "beam" in names("decoder"), names("drafter")[0]
    (True, 'auto')
    """
    return [entry.name for entry in entries(kind)]


def entries(kind: Kind | None = None) -> list[Entry]:
    """All entries of a kind, or all.

    >>> {entry.kind for entry in entries()} == {"drafter", "verifier", "shaper", "decoder"}
    True
    """
    return [entry for entry in ENTRIES if kind in (None, entry.kind)]


def find(kind: Kind, name: str) -> Entry:
    """The entry of this name. Raises `InvalidInput` for one that is not known, with the nearest that is.

    >>> find("decoder", "best_first").arguments
    'k, memory=None'
    """
    known = {entry.name: entry for entry in entries(kind)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InvalidInput(f"{kind}={name!r} is not known; {hint}use one of {', '.join(known)}")


def parse(kind: Kind, text: str, model: Any = None, **objects: Any) -> Any:
    """The object that a text names, with its arguments behind a colon: "beam:8", "top_p:0.9".

    >>> parse("decoder", "best_first:8")
    BestFirst(k=8, memory=None)
    """
    name, _, arguments = text.partition(":")
    return find(kind, name.strip()).make(arguments, model, **objects)


ENTRIES = list(_entries())
