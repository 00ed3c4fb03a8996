"""The speculation benchmark on a toy: its counts and its table are right, and bad input is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import espalier as es
from espalier import catalogue
from espalier.bench.peers import Ours
from espalier.bench.speculation import OWN, Tally, load_questions, measure, read_log, results, systems, tally
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab


class Toy:
    """What a benchmark needs of a language model."""

    def __init__(self) -> None:
        self.model = es.models.Table(9, 1, lambda c: __import__("torch").eye(9)[(c[-1] + 1) % 9] * 9)
        self.context = 100
        self.vocab = Vocab([bytes([i]) for i in range(8)] + [None], end=[8])

    def prompt(self, text: str) -> es.Prefix:
        return es.Prefix([len(word) % 9 for word in text.split()])


QUESTIONS = [("a", [0, 1, 2]), ("a", [4]), ("b", [5, 6])]


def test_counts_passes_tokens_and_equal_texts():
    toy = Toy()
    peers = [Ours("espalier", toy), Ours("espalier lookup", toy, es.drafting.PromptLookup())]  # type: ignore[arg-type]
    tallies = tally(measure(lambda: peers, QUESTIONS, tokens=30, runs=3))
    plain, lookup = tallies["espalier"]["a"], tallies["espalier lookup"]["a"]
    assert (plain.tokens, plain.passes, plain.prompts, plain.same) == (60, 60, 2, 2)
    assert lookup.tokens == 60
    assert lookup.passes < 40
    assert lookup.same == 2
    assert len(plain.pace) == len(plain.decode) == 3
    assert plain.times == [(1.0, 30)] * 6
    lines = results(tallies, "fp32")
    assert [line["category"] for line in lines] == ["a", "b", "mean"] * 2
    assert lines[0]["speedup"] == 1.0
    assert lines[3]["tokens_per_pass"] == pytest.approx(60 / lookup.passes, abs=1e-3)


def test_a_log_is_gone_on_with_and_drafters_are_new_in_every_run(tmp_path: Path):
    toy, log, made = Toy(), tmp_path / "log.jsonl", 0

    def make():
        nonlocal made
        made += 1
        return systems(toy, ["lookup"])  # type: ignore[arg-type]

    first = measure(make, QUESTIONS[:1], tokens=5, runs=1, log=log)
    whole = measure(make, QUESTIONS, tokens=5, runs=2, log=log)
    assert made == 3
    assert whole[: len(first)] == first
    assert whole == read_log(log)
    assert len({(s.run, s.question, s.system) for s in whole}) == len(whole) == 2 * len(QUESTIONS) * 2
    assert len(measure(make, QUESTIONS, tokens=5, runs=3, log=log, seconds=-1)) == len(whole)
    log.write_text("[]")
    with pytest.raises(InvalidInput, match="new file"):
        read_log(log)


def test_end_tokens_end_a_text_where_they_are_named():
    toy = Toy()
    peer = Ours("espalier", toy)  # type: ignore[arg-type]
    assert len(peer.continue_greedily([0], 20)) == 20
    peer.ends = frozenset({5})
    assert peer.continue_greedily([0], 20) == [1, 2, 3, 4, 5]


def test_speedups_are_medians_of_paired_runs():
    plain = Tally(pace=[10.0, 20.0, 10.0], tokens=1, passes=1, same=1, prompts=1, times=[(1.0, 1)])
    fast = Tally(pace=[5.0, 5.0, 8.0], tokens=1, passes=1, same=0, prompts=1, times=[(0.5, 1), (2.0, 40)])
    line = results({"espalier": {"a": plain}, "x": {"a": fast}}, "bf16")[2]
    assert (line["speedup"], line["ratio"], line["same_text"], line["ms_per_token"]) == (2.0, None, 0.0, 5.0)
    assert (line["speedup_texts"], line["slowest"], line["slowest_long"]) == (1.25, 2.0, 0.5)


def test_questions_are_read_by_category(tmp_path: Path):
    toy = Toy()
    rows = [{"category": "qa", "turns": ["a b"]}] * 3 + [{"category": "coding", "turns": ["c " * 500]}]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert load_questions(path, 2, 50, toy) == [("qa", [1, 1])] * 2  # type: ignore[arg-type]
    assert load_questions(path, 2, 50, toy, start=2) == [("qa", [1, 1])]  # type: ignore[arg-type]
    assert {category for category, _ in load_questions(OWN, None, 500, toy)} >= {"mt_bench", "qa", "rag"}  # type: ignore[arg-type]
    path.write_text('{"category": "qa"}')
    with pytest.raises(InvalidInput, match="turns"):
        load_questions(path, 2, 50, toy)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="not JSON lines"):
        load_questions(tmp_path / "none", 2, 50, toy)  # type: ignore[arg-type]


def test_every_drafter_of_the_benchmark_can_be_made():
    for name in catalogue.names("drafter", typed=True):
        if name not in {"quantised", "skip_layers", "early_exit", "swift", "del"}:  # a toy has no layers
            assert isinstance(catalogue.find("drafter", name).typical(Toy().model), es.drafting.Drafter)
