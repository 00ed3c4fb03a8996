"""What becomes of a folder of JSON Schemas: read, agreed with the package jsonschema on the texts beside them, refused and why.

usage: python scripts/schemastore.py FOLDER [--seconds 10]

FOLDER holds schemas (`*.json`), as `src/schemas/json` of a checkout of SchemaStore does, or fixtures: lists of cases with
`"input": {"schema": …, "text": …}`. Texts on `NAME.json` are looked for in `../../test/NAME/` of it, and in `negative_test`.
A case that ends in an exception that is not this library's is a fault, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import espalier as es
from espalier.constraints import Limits


def cases(folder: Path) -> Iterator[tuple[str, Any, list[str]]]:
    """A name, a schema, and texts to try on it."""
    for path in sorted(folder.rglob("*.json")):
        if {"test", "negative_test"} & set(path.relative_to(folder).parts):
            continue
        try:
            value = json.loads(path.read_text("utf-8"))
        except (ValueError, UnicodeError):
            value = None
        if isinstance(value, list) and value and all(isinstance(case, dict) and "input" in case for case in value):
            for case in value:
                if "schema" in case["input"]:
                    yield f"{path.name} {case['id']}", case["input"]["schema"], [case["input"].get("text", "")]
            continue
        texts = [
            text.read_text("utf-8", "replace")
            for kind in ("test", "negative_test")
            for text in sorted((folder.parent.parent / kind / path.stem).glob("*.json"))
        ]
        yield path.name, path.read_text("utf-8", "replace") if value is None else value, texts


def compact(text: str) -> str:
    """The text as it was, without blanks around it; a comment or a trailing comma makes it no JSON, and it is left out."""
    json.loads(text)
    return text.strip()


def tried(name: str, schema: Any, texts: list[str], limits: Limits, found: Counter[str], notes: list[str]) -> None:
    try:
        guide = es.json_schema(schema, limits=limits)
        found["read"] += 1
    except es.EspalierError as error:
        found["refused"] += 1
        notes.append(f"{name}: refused: {str(error)[:300]}")
        return
    import jsonschema

    for text in texts:
        try:
            text = compact(text)
            theirs = jsonschema.validators.validator_for(schema)(schema).is_valid(json.loads(text))
        except Exception as error:
            found["texts that jsonschema did not judge"] += 1
            notes.append(f"{name}: jsonschema: {type(error).__name__}: {str(error)[:100]}")
            continue
        try:
            ours = guide.matches(text.encode("utf-8", "surrogatepass"))
        except es.EspalierError as error:
            found["texts refused at a limit"] += 1
            notes.append(f"{name}: {str(error)[:300]}")
            continue
        found["texts agreed" if ours == theirs else "texts not agreed"] += 1
        if ours != theirs:
            notes.append(f"{name}: {'accepted' if ours else 'refused'} here only: {text[:100]}")


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("folder", type=Path)
    ask.add_argument("--seconds", type=float, default=10, help="CPU time that one schema may cost")
    asked = ask.parse_args()
    warnings.simplefilter("ignore")
    found: Counter[str] = Counter()
    notes: list[str] = []
    for name, schema, texts in cases(asked.folder):
        found["schemas"] += 1
        try:
            tried(name, schema, texts, Limits(compile_ms=1000 * asked.seconds), found, notes)
        except Exception as error:
            found["foreign exceptions"] += 1
            notes.append(f"{name}: FOREIGN {type(error).__name__}: {error}")
    print("\n".join(notes))
    print("\n" + ", ".join(f"{count} {what}" for what, count in found.items()))
    return 1 if found["foreign exceptions"] or not found["schemas"] else 0


if __name__ == "__main__":
    sys.exit(main())
