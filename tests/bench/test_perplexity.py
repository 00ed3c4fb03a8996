"""Perplexity is what a model's rows say of the tokens of texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import espalier as es
from espalier.bench.perplexity import perplexity_bench, texts_of
from espalier.cli import app
from tests.models.folders import folder

TEXTS = ["To be or not to be, that is the question.", "Call me Ishmael. Some years ago, never mind how long."]


def test_perplexity_is_exp_of_the_mean_loss(capsys: pytest.CaptureFixture[str]) -> None:
    place = folder()
    lm = es.load(place, dtype="float32")
    losses = []
    for text in TEXTS:
        ids = lm.tokenizer.encode(text)[:20]
        rows = torch.stack([lm.model.forward([es.Prefix(ids[:n])]).logits[0] for n in range(1, len(ids))])
        losses += torch.nn.functional.cross_entropy(rows, torch.tensor(ids[1:]), reduction="none").tolist()
    plain, again, rough = perplexity_bench(lambda dtype: es.load(place, dtype), ["float32", "float32", "bfloat16"], TEXTS, 20)
    assert plain["tokens"] == len(losses) == 38
    assert plain["perplexity"] == pytest.approx(float(torch.tensor(losses).mean().exp()), rel=1e-4)
    assert (again["ratio"], again["apart"]) == (1.0, 0.0)
    assert rough["apart"] > 0
    assert [json.loads(line)["dtype"] for line in capsys.readouterr().out.splitlines()] == ["float32", "float32", "bfloat16"]


def test_short_texts_are_left_out_and_too_few_are_told(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"turns": [text]}) + "\n" for text in ("short", "x" * 50, "y" * 60)))
    assert texts_of(file, 2, 10) == ["x" * 50, "y" * 60]
    with pytest.raises(es.InvalidInput, match="has 2 texts of 50 letters"):
        texts_of(file, 3, 10)


def test_the_command_needs_texts() -> None:
    result = CliRunner().invoke(app, ["bench", "decode", "--perplexity"])
    assert "--perplexity needs --prompts" in str(result.exception)
