"""The protocol of JSONSchemaBench: counts by hand, an engine in its process, and the whole on a small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import espalier as es
from espalier.bench.jsonschema import Case, counted, empirical, jsonschema_bench, small, suite
from espalier.bench.structured.engines import Worker, installed
from espalier.bench.structured.quality import accuracy, answer_in, tasks_of
from espalier.errors import InvalidInput
from espalier.models.load.open import locate

AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"], "additionalProperties": False}


@pytest.fixture(scope="module")
def lm() -> es.LanguageModel:
    return es.load()


def test_a_schema_counts_as_covered_if_every_document_is_judged_rightly() -> None:
    case = Case("c", "easy", AGE, ((True, '{"age": 1}'), (False, "{}")))
    said = {"first": 0.1, "compile": 0.1, "steps": [1e-5]}
    found = [{**said, "verdicts": judged} for judged in ([True, False], [False, False], [True, True])]
    counts = counted([case] * 5, [*found, {"error": "timeout"}, {"error": "no"}])
    assert (counts["declared"], counts["tested"], counts["true"], counts["over"], counts["under"]) == (3, 5, 1, 1, 1)
    assert counts["timeouts"] == 1
    assert counts["by_split"] == {"easy": "1/5"}


@pytest.mark.real
@pytest.mark.parametrize("name", installed())
def test_an_engine_in_its_process_judges_documents_and_may_be_killed(name: str) -> None:
    worker = Worker(name, locate() / "tokenizer.json", 20.0)
    try:
        said = worker.ask(AGE, ['{"age": 12}', '{"age": "x"}', "{}"])
        assert said["verdicts"] == [True, False, False]
        assert 0 < said["compile"] <= said["first"]
        assert len(said["steps"]) >= 6
        assert "error" in worker.ask({"type": 7}, []) or name == "outlines-core"
        worker.seconds = 0.0
        assert worker.ask({**AGE, "title": "again"}, []) == {"error": "timeout"}
        worker.seconds = 20.0
        assert worker.ask(AGE, ["{}"])["verdicts"] == [False], "a new process goes on"
    finally:
        worker.close()


def test_groups_of_the_suite_are_spread_over_its_files() -> None:
    found = list(suite(Path(__file__).parents[1] / "data" / "json_schema_suite" / "draft2020-12", 40))
    assert len(found) == 40
    assert len({case.split for case in found}) >= 15
    assert all(any(valid for valid, _ in case.documents) for case in found)


def test_what_is_right_is_read_in_json_and_leniently_elsewhere() -> None:
    questions = {question.task: question for question in tasks_of(None, 1)}
    assert answer_in('{"steps": "2 + 2", "answer": 4}', questions["sums"]) == (4, True)
    assert answer_in("2 + 2 is 4", questions["sums"]) == (4, False)
    assert answer_in("It is about the Weather.", questions["classification"]) == ("weather", False)
    assert answer_in('{"topic": "money"}', questions["classification"]) == ("money", True)


@pytest.mark.real
def test_texts_under_a_schema_are_valid_and_answers_are_compared(lm: es.LanguageModel) -> None:
    [case] = small([Case("c", "easy", AGE, ()), Case("d", "hard", {"type": "object"}, ())], 5)
    found = {result["engine"]: result for result in empirical(lm, [case], ["espalier"], 24)}
    assert found["espalier"]["valid"] == found["espalier"]["ended"] == 1
    assert found["espalier"]["compliance"] == 1.0
    assert set(found) == {"espalier", "espalier, in_time=False", "none"}
    answers = accuracy(lm, [question for question in tasks_of(None, 2) if question.task == "classification"], ["espalier"], 16)
    counts = {result["engine"]: result for result in answers}
    assert counts["espalier"]["readable"] == counts["espalier"]["of"] == 2
    assert not counts["none"]["constrained"]


@pytest.mark.real
def test_the_whole_protocol_prints_lines(lm: es.LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"file": "age", "split": "easy", "data": {"schema": AGE, "tests": [{"valid": True, "data": {"age": 3}}]}}
    data = tmp_path / "records.jsonl"
    data.write_text(json.dumps(record) + "\n")
    file = locate() / "tokenizer.json"
    found = jsonschema_bench(lm, file, data, None, None, ["espalier"], ["coverage", "empirical"], 1, 24, 20.0)
    assert [result["part"] for result in found] == ["coverage", *["empirical"] * 3]
    assert found[0]["true"] == found[0]["tested"] == 1
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 4
    with pytest.raises(InvalidInput, match="no such file"):
        jsonschema_bench(lm, file, tmp_path / "none", None, None, [], ["coverage"], 1, 24, 20.0)
    with pytest.raises(InvalidInput, match="not installed"):
        jsonschema_bench(lm, file, data, None, None, ["nobody"], ["coverage"], 1, 24, 20.0)
