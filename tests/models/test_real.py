"""The two real models: the same logits and the same greedy text as transformers on the same weights."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import espalier as es
from espalier.models.load import locate

pytestmark = pytest.mark.real
NAMES = ("smollm2-135m-instruct", "gemma-3-270m")


class Pair:
    """One model as we run it and as transformers does."""

    def __init__(self, name: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = locate(name)
        self.lm = es.load(name)
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
    prompts, budget = [row["turns"][0] for row in rows], 20
    ours = smollm.lm.complete_all(prompts, max_tokens=budget)
    for prompt, completion in zip(prompts, ours, strict=True):
        ids = torch.tensor([smollm.lm.tokenizer.chat(prompt)])
        with torch.no_grad():
            out = smollm.reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=budget, do_sample=False)
        assert completion.tokens == out[0, ids.shape[1] :].tolist(), prompt[:60]


def test_the_next_start_takes_under_three_seconds() -> None:
    """Counted in processor time of one thread, which other work on the machine does not lengthen (much)."""
    locate(NAMES[0])
    command = [sys.executable, "-c", "import espalier; lm = espalier.load(); print(lm.vocab.size)"]
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert done.stdout.strip() == "49152", done.stderr
    assert min(took) < 3
