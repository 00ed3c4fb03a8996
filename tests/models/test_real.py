"""The two real models: the same logits and the same greedy text as transformers on the same weights."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import espalier as es
from espalier.models.load.open import locate
from espalier.text.tokenizer import Tokenizer

pytestmark = pytest.mark.real
NAMES = ("smollm2-135m-instruct", "gemma-3-270m")


class Pair:
    """One model as we run it and as transformers does."""

    def __init__(self, name: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = locate(name)
        self.lm = es.load(name, dtype="float32")
        self.reference: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


@pytest.fixture(scope="module")
def smollm() -> Pair:
    return Pair(NAMES[0])


TEXTS = [
    "The three largest moons of Jupiter are",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Γλώσσα, 言語, språk, язык — 1234.5 🙂🙃\n\n\ttabs   and spaces",
    "a  b   c    d\n\n\n\n" + " " * 12 + "x = 'don\\'t' # 2024-05-06 <div></div>",
]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_transformers(text: str, pair: Pair) -> None:
    assert pair.lm.tokenizer.encode(text, special=True) == pair.tokenizer(text).input_ids
    assert pair.lm.tokenizer.encode(text) == pair.tokenizer(text, add_special_tokens=False).input_ids
    assert pair.lm.tokenizer.decode(pair.lm.tokenizer.encode(text)) == text


# What the original tokenizers give, as users of the original models have published it.
PUBLISHED: list[tuple[str, str, list[int]]] = [
    (NAMES[0], "The capital of France is Paris.", [504, 3575, 282, 4649, 314, 7042, 30]),
    (NAMES[0], "Write a short story: Once upon a time", [19161, 253, 1890, 1977, 42, 4027, 1980, 253, 655]),
    (NAMES[0], "Question: What is 84 * 3 / 2?", [17872, 42, 1812, 314, 216, 40, 36, 1672, 216, 35, 2272, 216, 34, 47]),
    (
        NAMES[0],
        "Quelle est la capitale de la France ? Réponds en une phrase.",
        [65, 2726, 290, 1264, 2618, 47765, 1121, 367, 2618, 4649, 9148, 428, 2756, 96, 19870, 430, 16520, 8715, 30],
    ),
    (NAMES[1], "Hello world how are you", [9259, 1902, 1217, 659, 611]),
    (NAMES[1], "The capital of France is", [818, 5279, 529, 7001, 563]),
    (
        NAMES[1],
        "def f(x):\n    return x + 1\n",
        [2063, 517, 236769, 236781, 1473, 107, 140, 2060, 1123, 900, 236743, 236770, 107],
    ),
    (NAMES[1], "日本語のテキストです", [94951, 236945, 95830, 3652]),
]


@cache
def original(name: str) -> Tokenizer:
    return Tokenizer.from_folder(locate(name))


@pytest.mark.parametrize(("name", "text", "ids"), PUBLISHED)
def test_tokens_are_those_of_the_original(name: str, text: str, ids: list[int]) -> None:
    tokenizer = original(name)
    assert tokenizer.encode(text) == ids
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", TEXTS)
def test_logits_are_those_of_transformers(text: str, pair: Pair) -> None:
    ids = pair.lm.tokenizer.encode(text, special=True)
    with torch.no_grad():
        expected = pair.reference(torch.tensor([ids])).logits[0]
    x = es.Prefix(ids[:1])
    prefixes = [x] + [x := x + token for token in ids[1:]]
    rows = pair.lm.model.forward(prefixes, frozenset())
    scale = float(expected.abs().max())
    assert float((rows.logits.float() - expected).abs().max()) < 1e-4 * max(1.0, scale / 10)


def test_chat_is_the_template_of_transformers(smollm: Pair) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi <b>&amp;"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Bye"},
    ]
    for messages in (turns, turns[1:2]):
        expected = smollm.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert smollm.lm.tokenizer.chat(messages) == expected


def test_greedy_text_is_that_of_transformers_on_twenty_prompts(smollm: Pair, shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "spec_bench" / "question_public.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if len(smollm.lm.tokenizer.chat(row["turns"][0])) <= 300]  # long ones only take longer
    rows = rows[:: len(rows) // 20][:20]
    assert len({row["category"] for row in rows}) >= 6
    prompts, budget = [row["turns"][0] for row in rows], 32
    ours = smollm.lm.complete_all(prompts, max_tokens=budget)
    for at, (prompt, completion) in enumerate(zip(prompts, ours, strict=True)):
        given = smollm.lm.tokenizer.chat(prompt)
        ended = completion.tokens[-1] in smollm.lm.vocab.end
        assert len(completion.tokens) == budget or ended
        with torch.no_grad():
            # Greedy text is the text each of whose tokens is the likeliest after those before it: one pass shows that it is.
            logits = smollm.reference(torch.tensor([given + completion.tokens])).logits[0]
            assert logits[len(given) - 1 : -1].argmax(-1).tolist() == completion.tokens, prompt[:60]
            if at % 7 == 0:
                ids = torch.tensor([given])
                out = smollm.reference.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=budget, do_sample=False
                )
                assert completion.tokens == out[0, len(given) :].tolist(), prompt[:60]


def test_the_next_start_costs_little_beside_importing_torch() -> None:
    """About twice the processor time of `import torch` on a quiet machine; five times is allowed."""
    locate(NAMES[0])

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    took = [(seconds("import torch"), seconds("import espalier; assert espalier.load().vocab.size == 49152")) for _ in range(3)]
    assert min(start for _, start in took) < 5 * min(torch for torch, _ in took)
