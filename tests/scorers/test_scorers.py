"""Scores by their definitions, and a sandbox in which nothing is left running."""

from __future__ import annotations

import math
import os
import subprocess
import time

import pytest
import torch
import toys

import espalier as es
from espalier.errors import InvalidInput
from espalier.scorers import calibrated, model_logp, passes, reward, staged, unit_tests


def test_the_share_of_passed_tests():
    score = unit_tests(["assert f(2) == 4", "assert f(3) == 9", "assert f(-1) == 1"])
    assert score(["def f(x): return x * x", "def f(x): return x + 2", "def f(x) return", ""]) == pytest.approx([1, 2 / 3, 0, 0])


def test_a_hanging_test_costs_its_time_and_leaves_nothing():
    before = _children()
    start = time.monotonic()
    assert passes("x = 1", ["assert x == 1", "while True: pass", "assert x == 1"], timeout=1.5) == [True, False, False]
    assert passes("import time", ["time.sleep(60)"], timeout=0.5) == [False]
    assert time.monotonic() - start < 12
    assert _children() == before


def _children() -> set[str]:
    out = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "pid="], capture_output=True, text=True, check=False).stdout
    return {line for line in out.split() if os.path.exists(f"/proc/{line}") and _alive(line)}


def _alive(pid: str) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z" and "ps" not in open(f"/proc/{pid}/comm").read()


@pytest.mark.parametrize(
    "attack",
    [
        "import socket; socket.socket().connect(('127.0.0.1', 9))",
        "import socket; socket.create_server(('127.0.0.1', 0))",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.kill(1, 0)",
        "x = bytearray(600 * 2**20)",
        "raise SystemExit(0)",
        "import os; os._exit(0)",
        "import sys; print('[\"\", 0, true]'); sys.stdout.flush(); raise ValueError",
    ],
)
def test_what_is_refused_has_not_passed(attack):
    assert passes("", [attack], timeout=10) == [False]


def test_model_logp_is_the_models():
    lm = toys.random_lm(0)
    [one, two] = model_logp(lm, es.raw("x"))(["ab", "b"])
    assert one == pytest.approx(lm.score(es.raw("x"), "ab").logprob)
    assert model_logp(lm, es.raw("x"), mean=True)(["ab"])[0] == pytest.approx(one / 2)
    assert two == pytest.approx(lm.score(es.raw("x"), "b").logprob)


def test_reward_reads_the_first_logit():
    class Model:
        def __call__(self, ids):
            return type("Out", (), {"logits": ids.float().sum(-1, keepdim=True)})

    def tokenizer(texts, **options):
        return {"ids": torch.tensor([[len(text), 1] for text in texts])}

    assert reward(Model(), tokenizer, batch=2)(["a", "bb", "ccc"]) == [2.0, 3.0, 4.0]


def test_calibration_does_not_see_increasing_transformations():
    texts = ["a" * n for n in (1, 3, 3, 7, 9)]
    plain = calibrated(lambda ts: [float(len(t)) for t in ts], texts)
    bent = calibrated(lambda ts: [math.exp(len(t)) for t in ts], texts)
    asked = ["a" * n for n in range(11)]
    assert plain(asked) == bent(asked)
    assert plain(asked) == sorted(plain(asked))
    assert plain([""]) == [0.0]
    assert plain(["a" * 10]) == [1.0]


def test_dear_stages_see_only_what_passed_the_cheap_ones():
    seen = []

    def dear(texts):
        seen.extend(texts)
        return [1.0 if "good" in t else -1.0 for t in texts]

    score = staged((lambda ts: [float(t.isidentifier()) for t in ts], 1.0), (dear, 0.0))
    values = score(["good", "bad", "1x"])
    assert seen == ["good", "bad"]
    assert values[0] == 1.0
    assert 0 > values[1] > values[2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: unit_tests([]),
        lambda: unit_tests("assert True", timeout=0),
        lambda: unit_tests("assert True", memory_mb=1),
        lambda: calibrated(lambda ts: [0.0] * len(ts), []),
        lambda: calibrated(lambda ts: [0.0], ["a", "b"]),
        lambda: staged(),
    ],
)
def test_bad_settings(make):
    with pytest.raises(InvalidInput):
        make()
