"""Sixty prompts that ask for numbers, objects and lists under dict schemas and Pydantic models: what is finished, what is read.

usage: python scripts/typed_answers.py [--temperature 0] [--tokens 60] [--prompts 60]

"before" is the specification's set of numbers without `in_time`, "after" what `lm.generate(schema=…)` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

import espalier as es

THINGS = ["a bicycle", "the moon", "a cup of tea", "Mount Everest", "an elephant"]
INTEGER = {"type": "integer"}
PLACE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "population": INTEGER},
    "required": ["name", "population"],
}
SCORED = {"type": "object", "additionalProperties": INTEGER, "minProperties": 2}


class Item(BaseModel):
    name: str
    count: int
    price: float


class Order(BaseModel):
    items: list[Item]
    total: float


ASKED: list[tuple[str, Any]] = [
    ("How heavy is {}, in kilograms? Answer with a whole number.", INTEGER),
    ("Give a number between 1 and 100 for how useful {} is.", {"type": "integer", "minimum": 1, "maximum": 100}),
    ("How tall is {}, in metres?", {"type": "number"}),
    ("What fraction of people have seen {}? A number from 0 to 1.", {"type": "number", "minimum": 0, "maximum": 1}),
    ("List three numbers that have to do with {}.", {"type": "array", "items": INTEGER, "minItems": 3}),
    ("List words that describe {}.", {"type": "array", "items": {"type": "string"}, "minItems": 2}),
    ("Name a place with {} and how many people live there, as JSON.", PLACE),
    ("Rate {} by several criteria from 0 to 10, as JSON.", SCORED),
    ("Describe {} as an item of a shop, as JSON.", Item),
    ("Write an order for {} and two more things, as JSON.", Order),
    ("List several items of a shop that sells {}, as JSON.", list[Item]),
    ("How many of {} are there, by colour? JSON.", dict[str, int]),
]


def floats_for_integers(schema: Any, value: Any) -> int:
    """How many floats stand in a value of a schema that has only integers as numbers."""
    if "number" in json.dumps(schema if isinstance(schema, dict) else ""):
        return 0
    if isinstance(value, dict):
        return sum(floats_for_integers(schema, each) for each in value.values())
    if isinstance(value, list):
        return sum(floats_for_integers(schema, each) for each in value)
    return int(isinstance(value, float) and isinstance(schema, dict))


def told(lm: es.LanguageModel, temperature: float, tokens: int, most: int, after: bool) -> str:
    """One line of the table."""
    finished = read = floats = hurried = total = 0
    for words, schema in ASKED:
        prompts = [words.format(thing) for thing in THINGS][: most - total]
        if not prompts:
            break
        own: dict[str, Any] = {"schema": schema} if after else {"constraint": es.json_schema(schema)}
        reading: Callable[[Any], Any] = json.loads if not after else lambda text: text
        for out in lm.complete_all(prompts, temperature=temperature, seed=1, max_tokens=tokens, **own):
            total += 1
            finished += out.whole
            hurried += out.hurried
            if not out.whole:
                continue
            value = out.parsed if after else reading(out.text)
            read += out.error is None
            floats += floats_for_integers(schema, value)
    name = "after" if after else "before"
    return f"| {name} | {temperature} | {finished}/{total} | {read}/{finished} | {floats} | {hurried} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=60, help="only the first so many")
    asked = parser.parse_args()
    lm = es.load()
    print("| | temperature | finished | read, of the finished | floats for integers | hurried |\n|---|---|---|---|---|---|")
    for after in (False, True):
        print(told(lm, asked.temperature, asked.tokens, asked.prompts, after), flush=True)


if __name__ == "__main__":
    main()
