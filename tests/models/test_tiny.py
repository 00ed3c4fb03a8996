"""The tiny trained models show their protocols: filling in, wait-k, a value head, two encoders."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

import espalier as es
from espalier.decoders import BestOf, Infill, Rankgen, Steps, WaitK
from espalier.errors import InvalidInput
from espalier.models.tiny import BiEncoder, ValueHead, open_tiny

CODE, TRANSLATION = open_tiny("code"), open_tiny("translation")
END, SUFFIX, MIDDLE, WRITTEN = 256, 257, 258, 259
OPERATIONS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
CASES = [(name, *letters) for name in OPERATIONS for letters in itertools.permutations("mqy", 2)]


def head(name: str, a: str, b: str) -> str:
    return f"def {name}({a},{b}):\n"


def body(name: str, a: str, b: str) -> str:
    return f" r={a}{OPERATIONS[name]}{b}\n return r\n"


def test_they_are_small():
    import espalier.models.tiny as room

    files = list(Path(room.__file__).parent.glob("*"))
    assert sum(file.stat().st_size for file in files if file.is_file()) < 3 * 2**20
    with pytest.raises(InvalidInput, match="'code', 'translation'"):
        open_tiny("poems")


def test_the_code_model_writes_what_a_name_says():
    texts = CODE.complete_all([es.Request(es.raw(head(*case)), temperature=0, max_tokens=30) for case in CASES])
    right = sum(text.text == body(*case) for text, case in zip(texts, CASES, strict=True))
    assert right >= 0.8 * len(CASES)


def test_infilling_writes_the_return_first_and_then_what_leads_to_it():
    infill = Infill((SUFFIX, MIDDLE, END), tau=1.0, begin=tuple(CODE.tokenizer.encode(" return")))
    right = 0
    for case in CASES:
        x, stop = CODE.prompt(es.raw(head(*case))), es.stop.end([END]) | es.stop.budget(30)
        [[found]] = es.run(infill(CODE.scorer, x, stop, es.Rng(0)))
        text = CODE.vocab.join(found.prefix.written()).decode()
        assert " return" in text
        right += text == body(*case)
    assert right >= 0.7 * len(CASES)


def translated(text: str) -> str:
    return "".join(text[i + 1] + text[i] for i in range(0, len(text) - 1, 2)).upper()


def test_waiting_for_two_is_enough_where_pairs_are_swapped():
    """The first capital of a pair needs the second letter: wait-1 must guess it, wait-2 has read it."""
    bits, encode = random.Random(5), TRANSLATION.tokenizer.encode
    sources = ["".join(bits.choice("abcdef") for _ in range(2 * bits.randint(1, 3))) + "." for _ in range(20)]
    right = {}
    for k in (1, 2, 4, 99):
        decoder = WaitK(k, lambda read: es.Prefix([*read, WRITTEN]))
        right[k] = 0
        for source in sources:
            x, stop = es.Prefix(encode(source)), es.stop.end([END]) | es.stop.budget(12)
            [[found]] = es.run(decoder(TRANSLATION.scorer, x, stop, es.Rng(0)))
            right[k] += TRANSLATION.vocab.join(found.prefix.written()).decode() == translated(source)
    assert right[1] <= 5
    assert min(right[2], right[4], right[99]) >= 16


def test_the_value_head_tells_right_from_wrong_and_leads_a_search():
    value = ValueHead.open()
    told = [value([head(*case) + body(*case), head(*case) + body(OTHER[case[0]], *case[1:])]) for case in CASES]
    assert sum(right > wrong for right, wrong in told) >= 0.9 * len(CASES)
    x, stop = CODE.prompt(es.raw(head("mul", "m", "q"))), es.stop.end([END]) | es.stop.budget(30)
    hot = CODE.scorer | es.temperature(2.0)
    [found] = es.run(BestOf(8, score=value)(hot, x, stop, es.Rng(0)))
    assert found.scores == sorted(found.scores, reverse=True)
    assert 0 <= found.scores[-1] <= found.scores[0] <= 1


OTHER = {"add": "sub", "sub": "mul", "mul": "div", "div": "add"}


def test_the_encoders_know_what_follows_and_lead_rankgen():
    right = 0
    for case in CASES:
        score = BiEncoder.open(CODE, head(*case))
        values = score([body(*other) for other in CASES])
        right += values.index(max(values)) == CASES.index(case)
    assert right >= 0.5 * len(CASES), "of 24, chance is one"
    x, stop = CODE.prompt(es.raw(head("div", "q", "y"))), es.stop.end([END]) | es.stop.budget(30)
    search = Rankgen(2, 4, score=BiEncoder.open(CODE, head("div", "q", "y")), steps=Steps("\n"))
    [found] = es.run(search(CODE.scorer, x, stop, es.Rng(0)))
    assert found.best.text == body("div", "q", "y")
