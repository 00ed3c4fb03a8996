"""The server as a process: real sockets, real clients, signals, and what goes wrong at the start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import HI, chunks

from espalier.cli import call
from espalier.cli.remote import Remote
from espalier.errors import EspalierError
from espalier.models.executors import native

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
CODE = """
import sys
from served import tiny
from espalier.serving.config import configured
from espalier.serving.http.server import serve
serve(configured({'port': 0, **eval(sys.argv[1])}), lambda: tiny(context=4096), lambda line: print(line, flush=True))
"""


@contextmanager
def server(**config: Any) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server of a tiny model in a process of its own, and a client of it."""
    command = [sys.executable, "-c", CODE, repr(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT, cwd=ROOT)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with httpx.Client(base_url=address, timeout=60) as client:
            until = time.monotonic() + 60
            while client.get("/ready").status_code != 200:
                assert time.monotonic() < until
                time.sleep(0.05)
            yield process, client
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate(timeout=30)


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"espalier_{name} ")))


def wait(condition: Any, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


LONG = {"prompt": "abc", "max_tokens": 3000, "ignore_eos": True, "espalier": {"drafter": "none"}}


def test_real_sockets_and_the_openai_client():
    openai = pytest.importorskip("openai")
    with server(api_key=["secret"], name=["mine"]) as (_, client):
        assert client.get("/v1/models").status_code == 401
        ours = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="secret", max_retries=0)
        assert [model.id for model in ours.models.list()] == ["mine"]
        whole = ours.chat.completions.create(model="mine", messages=HI, max_tokens=9, seed=1)
        parts = ours.chat.completions.create(model="mine", messages=HI, max_tokens=9, seed=1, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in parts) == whole.choices[0].message.content
        schema = {"name": "x", "schema": {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"]}}
        form = {"type": "json_schema", "json_schema": schema}
        made = ours.chat.completions.create(model="mine", messages=HI, response_format=form, seed=1, max_tokens=3000)
        assert json.loads(made.choices[0].message.content)["a"] == 1
        with pytest.raises(openai.BadRequestError, match="temperature"):
            ours.chat.completions.create(model="mine", messages=HI, extra_body={"temprature": 1})
        with pytest.raises(openai.NotFoundError):
            ours.chat.completions.create(model="other", messages=HI)


def test_clients_that_go_are_cancelled():
    with server(running=2) as (_, client):
        for stream in (True, False):
            for _ in range(3):
                host, port = client.base_url.host, client.base_url.port
                with socket.create_connection((host, port)) as raw:
                    body = json.dumps({**LONG, "stream": stream}).encode()
                    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
                    raw.sendall(head.encode() + body)
                    wait(lambda: metric(client, "requests_running") + metric(client, "requests_waiting") > 0)
                    if stream:
                        assert raw.recv(100).startswith(b"HTTP/1.1 200")
        wait(lambda: metric(client, "requests_running") + metric(client, "requests_waiting") == 0)
        assert metric(client, "requests_cancelled_total") == 6
        passes = metric(client, "passes_total")
        time.sleep(0.2)
        assert metric(client, "passes_total") == passes


def test_sigterm_ends_what_runs_and_takes_nothing_new():
    with server(drain=20) as (process, client):
        with client.stream("POST", "/v1/completions", json={**LONG, "max_tokens": 300, "stream": True}) as stream:
            lines = stream.iter_text()
            text = next(lines)
            process.send_signal(signal.SIGTERM)
            wait(lambda: client.get("/ready").status_code == 503)
            refused = client.post("/v1/completions", json=LONG)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            text += "".join(lines)
        assert chunks(text)[-1]["choices"][0]["finish_reason"] == "length"
        assert process.wait(timeout=20) == 0


def test_past_the_limit_of_draining_streams_end_with_an_error():
    with server(drain=0.2) as (process, client):
        with client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as stream:
            lines = stream.iter_text()
            text = next(lines)
            process.send_signal(signal.SIGTERM)
            text += "".join(lines)
        last = [line for line in text.split("\n\n") if line.startswith("data: ")][-1]
        assert json.loads(last[6:])["error"]["code"] == "unavailable"
        assert process.wait(timeout=20) == 0


def test_half_a_request_and_idle_connections_harm_nobody():
    with server() as (_, client):
        address = (client.base_url.host, client.base_url.port)
        idle = [socket.create_connection(address) for _ in range(200)]
        half = socket.create_connection(address)
        half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert client.post("/v1/completions", json={"prompt": "a", "max_tokens": 2}).status_code == 200
        deep = client.post("/v1/completions", content="[" * 7_000_000)
        assert deep.status_code == 400
        for each in [*idle, half]:
            each.close()


def test_a_broken_model_is_one_message(tmp_path):
    command = [sys.executable, "-m", "espalier", "serve", "--port", "0", "--model", str(tmp_path / "nothing")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, env=ENVIRONMENT, cwd=ROOT)
    assert found.returncode == 1
    assert found.stderr.count("espalier: ") == 1
    assert "nothing" in found.stderr
    assert "Traceback" not in found.stderr


def test_what_goes_wrong_at_the_start(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = [
            (["--port", port], "another program listens there"),
            (["--host", "0.0.0.0"], "--no-auth"),
            (["--api-key-file", str(tmp_path / "none")], "No such file"),
            (["--tls-cert", "a.pem"], "--tls-key"),
            (["--running", "0"], "running"),
            (["--unknown", "ignore"], "refuse"),
        ]
        for arguments, said in cases:
            assert call(["serve", *arguments]) == 1
            assert said in capsys.readouterr().err, arguments


def test_flags_beat_variables_and_variables_beat_the_file(tmp_path, capsys, monkeypatch):
    file = tmp_path / "serve.toml"
    file.write_text('port = 1\nrunning = 2\nqueued = 3\napi-key = ["secret"]\n')
    monkeypatch.setenv("ESPALIER_SERVE_RUNNING", "5")
    monkeypatch.setenv("ESPALIER_SERVE_PORT", "6")
    assert call(["serve", "--config", str(file), "--port", "7", "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert {"port = 7", "running = 5", "queued = 3"} <= set(shown.splitlines())
    assert "secret" not in shown
    for text, said in (("prt = 1", "did you mean port"), ('port = "x"', "a whole number"), ("port", "not TOML")):
        file.write_text(text)
        assert call(["serve", "--config", str(file), "--print-config"]) == 1
        assert said in capsys.readouterr().err


def test_chat_with_a_server(monkeypatch, capsys):
    with server(api_key=["secret"]) as (_, client):
        url = str(client.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        remote = Remote(url)
        assert remote.name == "tiny"
        pieces = list(remote.stream(HI, max_tokens=8, seed=1, temperature=1.0, top_p=None))
        body = {"messages": HI, "max_tokens": 8, "seed": 1}
        headers = {"authorization": "Bearer secret"}
        whole = client.post("/v1/chat/completions", json=body, headers=headers).json()
        assert "".join(pieces) == whole["choices"][0]["message"]["content"]
        monkeypatch.setenv("OPENAI_API_KEY", "wrong")
        with pytest.raises(EspalierError, match="401"):
            list(remote.stream(HI))
    with pytest.raises(EspalierError, match="does not answer"):
        list(Remote(url).stream(HI))
    assert call(["chat", "--server", url, "--model", "x"]) == 1
    assert "--server brings its own model" in capsys.readouterr().err


def test_a_second_sigterm_cuts_off_what_runs():
    with server(drain=100) as (process, client):
        with client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as stream:
            lines = stream.iter_text()
            text = next(lines)
            process.send_signal(signal.SIGTERM)
            wait(lambda: client.get("/ready").status_code == 503)
            process.send_signal(signal.SIGTERM)
            with suppress(httpx.HTTPError):
                text += "".join(lines)
        assert "[DONE]" not in text
        assert process.wait(timeout=20) == 0
