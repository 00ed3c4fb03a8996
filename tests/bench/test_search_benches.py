"""The benches of search and faithful sampling: what they read and count."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from models.folders import folder

import espalier as es
from espalier.bench.searches import peer
from espalier.bench.searches.beam_speed import beam_bench
from espalier.bench.searches.faithful import tasks
from espalier.bench.searches.public import cut, public_tests
from espalier.engine import run
from espalier.errors import InvalidInput


def test_cases_beside_the_peer_are_enumerated_and_sampled():
    for case in peer.CASES:
        law = case.law()
        assert math.fsum(law.values()) == pytest.approx(1.0)
        [(found, spent)] = run(peer._smc(case, 64)(0))
        assert set(found) <= set(law)
        assert math.fsum(found.values()) == pytest.approx(1.0)
        assert 0 < spent.passes <= case.length
        told = peer._summary([{"law": law, "calls": 1, "positions": 2, "dead": False}], law)
        assert told == {"tv": 0.0, "passes": 1.0, "positions": 2.0, "dead": 0.0}
    dead = peer._summary([{"law": {}, "calls": 1, "positions": 2, "dead": True}], law)
    assert dead["tv"] == 1.0


def test_tasks_of_every_layout_are_read(tmp_path: Path):
    for name, text in {
        "gad/a.txt": "Say a:",
        "gad/a.ebnf": 'root ::= "a"',
        "spider/one.txt": "A query:",
        "spider/grammar.lark": 'start: "select"',
        "goal_inference/blocks.pddl": "(define)",
        "goal_inference/goals.lark": 'start: "(on b1 b2)"',
        "patterns/some.csv": 'regex\n[ab]{2}\n"(?<=x)\\1"\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = {task.name: task for task in tasks(tmp_path, ["gad", "spider", "goal_inference", "patterns"])}
    assert list(found) == ["gad/a", "spider/one", "goal_inference/blocks", "patterns/0"], "what is not regular is left out"
    assert found["patterns/0"].guide().matches(b"ab")
    assert found["spider/one"].guide().matches(b"select")
    with pytest.raises(InvalidInput, match="no prompt with a grammar"):
        list(tasks(tmp_path, ["smiles"]))


def test_public_tests_are_the_examples_of_the_docstring():
    prompt = 'def f(x):\n    """ Doubles.\n    >>> f(2)\n    4\n    >>> f("a")\n    \'aa\'\n    """\n'
    assert public_tests(prompt) == ["assert (f(2)) == (4)", "assert (f(\"a\")) == ('aa')"]
    assert public_tests("def f(x):\n") == []
    assert cut("    return x\nif __name__") == "    return x"


def test_beams_one_by_one_and_side_by_side_are_those_of_transformers(capsys):
    pytest.importorskip("transformers")
    beam_bench(es.load(str(folder("Llama")), dtype="float32", cache_mb=0), 3, 4, width=2)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["side_by_side"], line["equal"]) for line in lines] == [(1, 3), (3, 3)]
