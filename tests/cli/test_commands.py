"""The commands on a tiny model: what they print, and that every bad input is one clear message and a non-zero exit code."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models.tiny import random_model, write_gguf
from safetensors.torch import save_file

from espalier.cli import call
from espalier.models.load.convert import convert

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    path = write_gguf(folder / "tiny.gguf", "qwen3", random_model("qwen3", num_hidden_layers=1, max_position_embeddings=128))
    convert(path, folder)
    path.unlink()
    return str(folder)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in this process: its exit code, stdout and stderr."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = call(list(arguments))
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


def test_generate_prints_text_and_the_same_seed_the_same_text(run: Run, tiny: str) -> None:
    ask = ("generate", "Hi", "--model", tiny, "--max-tokens", "8", "--temperature", "1")
    first, again, other = run(*ask, "--seed", "3"), run(*ask, "--seed", "3"), run(*ask, "--seed", "4")
    assert first[0] == 0
    assert first == again
    assert first[1] != other[1]


def test_json_is_one_line_that_says_it_all(run: Run, tiny: str) -> None:
    code, out, _ = run("generate", "Hi", "--model", tiny, "--max-tokens", "5", "--temperature", "1", "--n", "2", "--json")
    assert code == 0
    assert out.count("\n") == 1
    line = json.loads(out)
    assert len(line["completions"]) == 2
    assert line["completions"][0]["tokens"] == line["tokens"]
    assert len(line["tokens"]) == len(line["logprobs"]) <= 5
    assert line["finish_reason"] in ("stop", "length")
    assert line["stats"]["passes"] >= len(line["tokens"])
    assert isinstance(line["seed"], int)
    repeated = json.loads(
        run(
            "generate", "Hi", "--model", tiny, "--max-tokens", "5", "--temperature", "1", "--json", "--seed", str(line["seed"])
        )[1]
    )
    assert repeated["tokens"] == line["tokens"]


def test_the_prompt_comes_from_argument_file_or_stdin(run: Run, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Grüße\n", "utf-8")
    more = ("--model", tiny, "--max-tokens", "6", "--json")
    asked = [
        run("generate", "Grüße\n", *more),
        run("generate", "--file", str(tmp_path / "prompt.txt"), *more),
        run("generate", *more, stdin="Grüße\n".encode()),
        run("generate", "-", *more, stdin="Grüße\n".encode()),
    ]
    texts = [json.loads(out)["tokens"] for code, out, _ in asked if code == 0]
    assert texts == [texts[0]] * 4
    other = json.loads(run("generate", "--raw", "Grüße\n", *more)[1])
    assert other["stats"]["prompt_tokens"] == len("Grüße\n".encode())


def test_a_constraint_is_kept_or_the_command_fails(run: Run, tiny: str) -> None:
    more = ("--model", tiny, "--max-tokens", "9")
    code, out, _ = run("generate", "x", "--regex", "[ab]{3}", *more)
    assert code == 0
    assert re.fullmatch("[ab]{3}\n", out)
    code, out, err = run("generate", "x", "--regex", "[ab]{30}", *more)
    assert (code, out) == (1, "")
    assert "cut off (length) after 9 tokens, before it satisfied --regex" in err
    code, out, _ = run("generate", "x", "--regex", "[ab]{30}", *more, "--json")
    assert code == 0
    assert json.loads(out)["finish_reason"] == "length"


BAD: list[tuple[list[str], bytes, str]] = [
    (["generate", ""], b"", "prompt is empty"),
    (["generate", "  \n"], b"", "prompt is empty"),
    (["generate"], b"", "prompt is empty (stdin)"),
    (["generate"], b"caf\xe9", "stdin is not UTF-8: byte 0xe9 at position 3"),
    (["generate", "x", "--file", "nowhere.txt"], b"", "both given"),
    (["generate", "--file", "nowhere.txt"], b"", "nowhere.txt cannot be read"),
    (["generate", "word " * 400], b"", "128"),
    (["generate", "x", "--temperature", "-1"], b"", "temperature"),
    (["generate", "x", "--temperature", "nan"], b"", "temperature"),
    (["generate", "x", "--temperature", "inf"], b"", "temperature"),
    (["generate", "x", "--top-p", "1.5"], b"", "top_p"),
    (["generate", "x", "--top-p", "0"], b"", "top_p"),
    (["generate", "x", "--top-k", "0"], b"", "top_k"),
    (["generate", "x", "--min-p", "2"], b"", "min_p"),
    (["generate", "x", "--repetition-penalty", "0"], b"", "repetition"),
    (["generate", "x", "--n", "0"], b"", "n=0"),
    (["generate", "x", "--max-tokens", "0"], b"", "max_tokens=0"),
    (["generate", "x", "--max-seconds", "-1"], b"", "seconds"),
    (["generate", "x", "--seed", "-1"], b"", "seed=-1"),
    (["generate", "x", "--stop", ""], b"", "stop"),
    (["generate", "x", "--dtype", "float17"], b"", "float17"),
    (["generate", "x", "--device", "tpu"], b"", "tpu"),
    (["generate", "x", "--drafter", "magic"], b"", "magic"),
    (["generate", "x", "--raw", "--system", "y"], b"", "--system"),
    (["generate", "x", "--schema", "nowhere.json"], b"", "espalier: nowhere.json cannot be read"),
    (["generate", "x", "--regex", "("], b"", "("),
    (["generate", "x", "--regex", "a", "--choice", "b"], b"", "one constraint"),
    (["generate", "x\udc80"], b"", "surrogate"),
]


@pytest.mark.parametrize(("arguments", "stdin", "says"), BAD, ids=[" ".join(case[0])[:40] + repr(case[1]) for case in BAD])
def test_bad_input_is_one_clear_message(arguments: list[str], stdin: bytes, says: str, run: Run, tiny: str) -> None:
    code, out, err = run(*arguments, "--model", tiny, stdin=stdin)
    assert code == 1
    assert out == ""
    assert err.startswith("espalier: ")
    assert says in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pass", "--batch", "1,x,8"], "write batch sizes"),
        (["pass", "--dtype", "fp64"], "use fp32, bf16, fp16, int8 or int4"),
        (["pass", "--device", "tpu"], "use cpu or cuda"),
        (["pass", "--shape", "9b"], "use one of 135m"),
        (["decoders", "--task", "chess"], "--task chess: choose from continuation"),
        (["decoders", "--decoder", "greed"], "--decoder greed: choose from"),
        (["decode", "--limit", "0"], "--limit"),
        (["speculation", "--drafter", "auto,magic"], "--drafter magic: choose from auto"),
        (["speculation", "--dtype", "fp64"], "use fp32, bf16 or int8"),
    ],
    ids=str,
)
def test_a_benchmark_tells_bad_input_before_a_model_is_loaded(arguments: list[str], says: str, run: Run) -> None:
    code, out, err = run("bench", *arguments)
    assert (code, out) == (1, "")
    assert says in err


@pytest.mark.parametrize(
    ("name", "says"),
    [("gpt-17", "no model is called"), ("smollm2-135m", "did you mean"), ("/nowhere/x.gguf", "no file or folder")],
)
def test_an_unknown_model_is_one_clear_message(name: str, says: str, run: Run) -> None:
    for command in (["generate", "x"], ["chat"]):
        code, out, err = run(*command, "--model", name)
        assert (code, out) == (1, "")
        assert says in err
        assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["generate", "x", "--n", "many"], ["generate", "x", "--no-such"], ["no-such-command"]])
def test_wrong_usage_exits_with_two(arguments: list[str], run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err


def test_a_truncated_model_is_one_clear_message(run: Run, tiny: str, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    for path in Path(tiny).iterdir():
        raw = path.read_bytes()
        (folder / path.name).write_bytes(raw[: len(raw) // 2] if path.suffix == ".safetensors" else raw)
    code, out, err = run("generate", "x", "--model", str(folder))
    assert (code, out) == (1, "")
    assert "truncated or damaged" in err


def test_chat_answers_every_line_with_the_whole_conversation(run: Run, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from espalier.lm import LanguageModel

    asked: list[Any] = []
    stream = LanguageModel.stream
    monkeypatch.setattr(
        LanguageModel, "stream", lambda lm, messages, **o: (asked.append(messages), stream(lm, messages, **o))[1]
    )
    lines = b"one\n\ntwo\n/new\nthree\n/quit\nfour\n"
    code, out, _ = run("chat", "--model", tiny, "--max-tokens", "4", "--seed", "1", "--system", "S", stdin=lines)
    assert code == 0
    assert [[m["content"] for m in messages if m["role"] != "assistant"] for messages in asked] == [
        ["S", "one"],
        ["S", "one", "two"],
        ["S", "three"],
    ]
    said = asked[1][2]
    assert said["role"] == "assistant"
    assert said["content"] in out


def test_chat_refuses_bytes_that_are_not_text(run: Run, tiny: str) -> None:
    code, _, err = run("chat", "--model", tiny, stdin=b"\xff\n")
    assert code == 1
    assert "not UTF-8" in err


def test_models_lists_what_is_known_and_cached(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert "smollm2-135m-instruct" in out
    assert "gemma-3-270m" in out
    cached = tmp_path / "home" / "models" / "gemma-3-270m"
    cached.mkdir(parents=True)
    (cached / "config.json").write_text("{}")
    save_file({"weight": torch.zeros(375_000)}, cached / "model.safetensors")
    code, out, _ = run("models", "--json")
    known = {model["name"]: model for model in json.loads(out)["models"]}
    assert known["gemma-3-270m"]["cached"]
    assert known["gemma-3-270m"]["bytes"] == sum(path.stat().st_size for path in cached.iterdir())
    assert not known["smollm2-135m-instruct"]["cached"]
    assert known["smollm2-135m-instruct"]["default"]
    assert known["gemma-3-270m"]["auto"] is None  # it is no model
    (place := tmp_path / "home" / "models" / "smollm2-135m-instruct").mkdir()
    convert(write_gguf(tmp_path / "tiny.gguf", "llama", random_model("llama")), place)
    code, out, _ = run("models", "--json")
    auto = {model["name"]: model for model in json.loads(out)["models"]}["smollm2-135m-instruct"]["auto"]
    assert auto["dtype"] == "float32"
    assert auto["why"] in " ".join(run("models")[1].split())


def espalier(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(Path(__file__).parents[2] / "scripts" / "start.py"), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_message(tiny: str) -> None:
    with open("/dev/full", "wb") as full:
        process = espalier("generate", "Hi", "--model", tiny, "--max-tokens", "3", stdout=full)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"disk is full" in err
    assert len(err.strip().splitlines()) == 1


def test_ctrl_c_is_one_clear_message(tiny: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "prompt")
    process = espalier("generate", "--model", tiny, "--file", str(tmp_path / "prompt"), stdout=subprocess.PIPE)
    with open(tmp_path / "prompt", "wb"):  # opens when the command reads it: it is certainly inside
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == b""
    assert err.decode().strip() == "espalier: interrupted"


@pytest.mark.parametrize("after", [0.3, 0.8])
def test_ctrl_c_while_the_program_still_starts_is_the_same_message(after: float) -> None:
    process = espalier("models", stdout=subprocess.PIPE)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.decode().strip() == "espalier: interrupted"
