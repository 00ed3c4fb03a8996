"""Random walks: texts drawn at random from the masks of real schemas, judged by the `jsonschema` package.

`python -m espalier.bench.random_walks PACK TOKENIZER [--schemas 300] [--walks 3] [--seed 1] [--list NAMES]` prints one JSON
line: how many walks ended, and every exception: a token of the mask that was refused, a dead end, an invalid text. A dead
end is an exception unless the guide says "over".
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import espalier as es
from espalier.bench.maskbench import load
from espalier.text.vocab import Vocab

_STRUCTURE = b' \n"{}[],:'
_CLOSERS = b'"}]'
_MEMBER = re.compile(rb'[{,]\s*"$')


class Walk(NamedTuple):
    """One random text: its bytes, and how it came to its end: "ended", "unfinished", "dead end" or "refused"."""

    text: bytes
    how: str


def _rank(piece: bytes) -> int:
    """How far outside of strings a token is from an end: closing brackets first, opening ones last."""
    if piece and all(b in _CLOSERS for b in piece):
        return 1
    return 2 if piece[:1] in (b'"', b"}", b"]") else 4 if piece[:1] in (b"{", b"[") else 3


class Walker:
    """Draws texts over one vocabulary."""

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        self.end = np.array(sorted(vocab.end))
        self.words = np.zeros((vocab.size + 31) // 32, dtype=np.int32)
        pieces = [vocab[t] for t in range(vocab.size)]
        self.structural = np.array([bool(p) and all(b in _STRUCTURE for b in p) for p in pieces])
        self.closing = np.array([_rank(p or b"") for p in pieces])
        self.in_text = np.array([9 if p != b'"' else 0 for p in pieces])
        self.letter = vocab.ids[b"a"]
        self.length = np.array([len(p) for p in pieces])

    def allowed(self) -> np.ndarray[Any, Any]:
        """The tokens of the mask."""
        bits = np.unpackbits(self.words.view(np.uint8), bitorder="little")[: self.vocab.size]
        return np.flatnonzero(bits)

    def walk(
        self, guide: es.constraints.Guide, names: Sequence[str], rng: random.Random, soon: int = 200, most: int = 800
    ) -> Walk:
        """A random text of the guide; after `soon` tokens it takes what brings it to an end, after `most` it is left.

        `names` are written where a member begins: objects that demand members would else go on with others for ever.
        """
        cursor = es.masks(guide, self.vocab).start(self.words)
        text = bytearray()
        planned: list[int] = []
        for step in range(most):
            cursor.fill()
            if planned:
                token = planned.pop(0)
                if not self.words[token >> 5] >> (token & 31) & 1 or not cursor.commit(token):
                    return Walk(bytes(text), "refused")
                text += self.vocab[token]
                continue
            allowed = self.allowed()
            if len(allowed) == 0:
                return Walk(bytes(text), "dead end")
            ends = np.isin(allowed, self.end)
            if ends.any() and (ends.all() or step >= soon or rng.random() < 0.1):
                return Walk(bytes(text), "ended" if cursor.commit(int(allowed[ends][0])) else "refused")
            token = self._choose(allowed[~ends], rng, step >= soon)
            text += self.vocab[token]
            if not cursor.commit(token):
                return Walk(bytes(text), "refused")
            if step >= soon // 2 and _MEMBER.search(text):
                planned = self._name(guide, names, bytes(text), rng)
        return Walk(bytes(text), "unfinished")

    def _name(self, guide: es.constraints.Guide, names: Sequence[str], text: bytes, rng: random.Random) -> list[int]:
        """The tokens of a name that may be written here, and of what follows it; none if there is none."""
        for name in rng.sample(names, len(names)):
            rest = json.dumps(name)[1:].encode() + b":"
            if guide.advance(guide.start(), text + rest) is None:
                continue
            return self.vocab.cut(rest)
        return []

    def _choose(self, allowed: np.ndarray[Any, Any], rng: random.Random, closing: bool) -> int:
        if closing and rng.random() < 0.9:
            ranks = (self.in_text if self.letter in allowed else self.closing)[allowed]
            allowed = allowed[ranks == ranks.min()]
            if ranks.min() == 3 and len(allowed) < 100:  # a listed name, a literal: written in as few tokens as can be
                allowed = allowed[[int(self.length[allowed].argmax())]]
        elif rng.random() < 0.35:
            structural = allowed[self.structural[allowed]]
            allowed = structural if len(structural) else allowed
        return int(allowed[rng.randrange(len(allowed))])


def demanded(schema: Any) -> list[str]:
    """The names in all `required` of a schema.

    >>> demanded({"required": ["b"], "items": {"required": ["a"]}})
    ['a', 'b']
    """
    found: set[str] = set()
    if isinstance(schema, dict):
        names = schema.get("required")
        found |= {n for n in names if isinstance(n, str)} if isinstance(names, list) else set()
    if isinstance(schema, (dict, list)):
        for inner in schema.values() if isinstance(schema, dict) else schema:
            found |= set(demanded(inner))
    return sorted(found)


def judge(schema: Any, walk: Walk, exactness: str) -> str | None:
    """What is wrong with a walk: None if nothing is.

    >>> judge({"type": "integer"}, Walk(b"1", "ended"), "exact")
    >>> print(judge({"type": "integer"}, Walk(b'"1"', "ended"), "exact"))
    invalid: '1' is not of type 'integer'
    """
    if walk.how == "dead end":
        return None if exactness == "over" else "an unannounced dead end"
    if walk.how != "ended":
        return None if walk.how == "unfinished" else "a token of the mask was refused"
    import jsonschema

    try:
        value = json.loads(walk.text)
    except ValueError as error:
        return f"not JSON: {error}"
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    wrong = jsonschema.exceptions.best_match(kind(schema, format_checker=kind.FORMAT_CHECKER).iter_errors(value))
    return None if wrong is None else f"invalid: {wrong.message[:300]}"


def run(walker: Walker, cases: Iterable[tuple[str, dict[str, Any]]], walks: int, seed: int) -> dict[str, Any]:
    """Counts of walks by how they ended, and the exceptions: schema, reason, text."""
    hows: Counter[str] = Counter()
    problems: list[tuple[str, str, str]] = []
    for name, case in cases:
        try:
            guide = es.json_schema(json.dumps(case["schema"]))
            guide.start()
        except es.EspalierError as error:
            hows["no guide"] += 1
            problems.append((name, f"no guide: {error}", ""))
            continue
        names = demanded(case["schema"])
        for number in range(walks):
            try:
                walk = walker.walk(guide, names, random.Random(f"{seed} {name} {number}"))
                wrong = judge(case["schema"], walk, guide.exactness)
            except Exception as error:  # whatever a schema does to us or to the validator is reported
                walk, wrong = Walk(b"", "error"), f"{type(error).__name__}: {str(error)[:300]}"
            hows[walk.how] += 1
            if wrong:
                problems.append((name, wrong, walk.text.decode(errors="replace")))
    return {"walks": dict(hows), "problems": problems}


def choose(cases: Sequence[tuple[str, dict[str, Any]]], count: int, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """So many of the schemas, drawn with a seed."""
    return random.Random(seed).sample(list(cases), min(count, len(cases)))


def main() -> None:
    """The command line."""
    from espalier.text.tokenizer import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--schemas", type=int, default=300)
    parser.add_argument("--walks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", type=Path)
    args = parser.parse_args()
    walker = Walker(Tokenizer.from_folder(args.tokenizer).vocab)
    cases = choose(list(load(args.pack, args.list, None)), args.schemas, args.seed)
    print(json.dumps(run(walker, cases, args.walks, args.seed), ensure_ascii=False))


if __name__ == "__main__":
    main()
