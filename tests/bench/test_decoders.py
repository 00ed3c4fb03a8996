"""The comparison of decoding methods: its measures by hand, its data, and a run on a toy."""

from __future__ import annotations

import json

import pytest
from toys import random_lm

import espalier as es
from espalier.bench.methods import decoders as b
from espalier.bench.methods.decoding_claims import surprise
from espalier.bench.methods.decoding_scores import distinct, diversity, last_number, rep, smiles_valid


def test_measures_by_hand():
    assert rep([1, 2, 3, 4, 1, 2, 3, 4], 4) == pytest.approx(1 / 5)
    assert rep([1, 2], 4) == 0
    assert diversity([1, 2, 1, 2, 1, 2]) == pytest.approx((2 / 5) * (2 / 4) * (2 / 3))
    assert distinct([[1, 2, 1], [1, 2]], 2) == pytest.approx(2 / 3)
    assert last_number("He paid $1,250.50 in 2 parts: -3") == -3
    assert last_number("none") is None


@pytest.mark.parametrize(
    "good", ["C", "c1ccccc1", "C%12CC%12", "[13CH4]", "C/C=C\\C", "[Na+].[Cl-]", "N#N", "CS(=O)(=O)C", "Cn1cccc1"]
)
def test_molecules_that_can_be(good):
    assert smiles_valid(good)


@pytest.mark.parametrize(
    "bad", ["C(", "C1C", "C11", "C==C", "(C)C", "C()C", "O(C)(C)C", "C12CC12", "Cx", "C.", "=C", "[C", "[Q]C", "C=1CC#1"]
)
def test_molecules_that_cannot(bad):
    assert not smiles_valid(bad)


def test_the_built_in_data_is_whole():
    lm = random_lm()
    for name in b.TASKS:
        for record in b.rows(name, None):
            made = b.task(name, record, lm)
            assert made.tokens > 0
    records = b.rows("counterfactual", None)
    assert len(records) == 40
    for record in records:
        assert record["answer"].casefold() in record["context"].casefold()
        assert record["memory"].casefold() not in record["question"].casefold()
        assert record["answer"].casefold() not in record["memory"].casefold()
    solutions = {"add": "    return a + b", "factorial": "    return 1 if n < 2 else n * factorial(n - 1)"}
    for record in b.rows("humaneval", None):
        if record["entry_point"] in solutions:
            worth = b.task("humaneval", record, lm).worth
            assert worth(solutions[record["entry_point"]], None) == 1
            assert worth("    return None", None) == 0
    worth = b.task("gsm8k", {"question": "?", "answer": "2+2\n#### 1,004"}, lm).worth
    assert (worth("so it is 1004.", None), worth("1003", None)) == (1, 0)


def test_every_setting_is_a_request():
    for options in b.SETTINGS.values():
        es.requests.Options(**options)


def test_the_best_fixed_setting_is_that_of_the_mean():
    lines = [
        {"task": task, "setting": setting, "score": score}
        for task, setting, score in [("a", "x", 1.0), ("a", "y", 0.7), ("b", "x", 0.0), ("b", "y", 0.5), ("b", "z", 1.0)]
    ]
    found = b.best(lines)
    assert found["best_fixed"] == "y"
    assert found["best_fixed_score"] == pytest.approx(0.6)
    assert found["best_per_task"] == {"a": "x", "b": "y"}  # z was not measured on every task
    assert found["best_per_task_score"] == pytest.approx(0.75)
    assert b.best([]) is None


def test_a_run_on_a_toy_prints_a_line_for_each(tmp_path, capsys):
    lm, log = random_lm(1), tmp_path / "log.jsonl"
    run = lambda: b.decoders_bench(lm, ["smiles", "continuation"], {}, ["greedy", "top_p"], 2, 5, log)  # noqa: E731
    lines = run()
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["task"], line["setting"]) for line in lines] == [
        (task, setting) for task in ("smiles", "continuation") for setting in ("greedy", "top_p:0.8", "top_p:0.95")
    ]
    assert shown[: len(lines)] == lines
    assert "best_fixed" in shown[-2]
    assert all(0 <= line["score"] <= 1 and line["mean_logp"] < 0 and line["tokens"] <= 10 for line in lines)
    assert run() == lines  # nothing is measured again
    for wrong in (["chess"], ["smiles"]):
        with pytest.raises(es.InvalidInput):
            b.decoders_bench(lm, wrong, {}, ["greed"], 1)
    with pytest.raises(es.InvalidInput, match="entry_point"):
        b.task("humaneval", {"prompt": "x", "test": "y"}, lm)


@pytest.mark.parametrize(("tau", "version"), [(1.0, 2), (2.0, 2), (1.5, 1)])
def test_mirostat_holds_its_target_over_two_thousand_tokens(tau, version):
    model = es.models.Table.random(64, 1, seed=3, scale=2.0)
    scorer = model | es.shaping.mirostat(tau, version=version)
    [(drawn, whole)] = es.run(surprise(scorer, es.Prefix([0]), 2000, es.Rng(1)))
    assert abs(drawn - tau) < 0.2
    assert whole >= drawn


def test_a_folder_without_prompts_is_named(tmp_path):
    with pytest.raises(es.InvalidInput, match=r"no \.txt file that ends with 'Molecule:'"):
        b.rows("smiles", tmp_path)
