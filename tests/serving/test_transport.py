"""TLS, Unix sockets, keys of files, origins of browsers; and what a socket can do to a server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import httpx
import pytest
from served import chunks
from test_sockets import CODE, ENVIRONMENT, LONG, ROOT, metric, server, wait

from espalier.cli import call
from espalier.models.executors import native

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")
SHORT = {"prompt": "abc", "max_tokens": 3, "seed": 1}
TEXT = "/v1/completions"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("openssl makes no certificate here")
    return str(cert), str(key)


def test_tls(certificate):
    cert, key = certificate
    command = [sys.executable, "-c", CODE, repr({"tls_cert": cert, "tls_key": key})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT, cwd=ROOT)
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=address, verify=ssl.create_default_context(cafile=cert), timeout=60) as client:
            wait(lambda: client.get("/ready").status_code == 200, 60)
            assert client.post(TEXT, json=SHORT).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(address + "/health")
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_a_unix_socket_is_made_and_taken_away(tmp_path):
    path = str(tmp_path / "es.sock")
    for _ in range(2):  # the second server finds what the first, which was killed, left behind
        command = [sys.executable, "-c", CODE, repr({"uds": path})]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
        try:
            assert process.stdout.readline().strip() == f"unix:{path}"
            transport = httpx.HTTPTransport(uds=path)
            with httpx.Client(transport=transport, base_url="http://any", timeout=60) as client:
                wait(lambda c=client: c.get("/ready").status_code == 200, 60)
                assert client.post(TEXT, json=SHORT).status_code == 200
                taken = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
                assert "another program listens there" in taken.stderr
        finally:
            process.kill()
            process.communicate(timeout=30)
        assert os.path.exists(path)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
    process.stdout.readline()
    with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://any", timeout=60) as client:
        wait(lambda: client.get("/ready").status_code == 200, 60)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert (process.returncode, os.path.exists(path)) == (0, False)


def test_keys_of_a_file_and_origins(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# ours\nfirst\n\n second \n")
    with server(api_key_file=str(keys), api_key=["third"], cors_origin=["https://a.example"]) as (_, client):
        for key, status in (("first", 200), ("second", 200), ("third", 200), ("# ours", 401), ("none", 401)):
            found = client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
            assert found.status_code == status, key
        asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
        asked |= {"access-control-request-headers": "authorization"}
        allowed = client.options(TEXT, headers=asked)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://a.example"
        assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        stranger = client.options(TEXT, headers=asked | {"origin": "https://b.example"})
        assert "access-control-allow-origin" not in stranger.headers
        refused = client.get("/v1/models", headers={"origin": "https://a.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://a.example")


def test_keys_that_cannot_be_read(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    for path, said in ((str(tmp_path), "directory"), (str(empty), "holds no key")):
        assert call(["serve", "--api-key-file", path]) == 1
        found = capsys.readouterr().err
        assert said in found
        assert found.count("\n") == 1


def test_every_flag_has_a_variable(monkeypatch, capsys):
    given = {"PORT": "9", "UDS": "x.sock", "QUEUED": "7", "UNKNOWN": "warn", "PING": "3", "LOG_FORMAT": "json", "KV_MB": "64"}
    given |= {"NO_AUTH": "1", "NAME": "a", "CORS_ORIGIN": "https://a", "MAX_BODY_MB": "2", "KEEP_ALIVE": "5", "DRAIN": "1"}
    for name, value in given.items():
        monkeypatch.setenv(f"ESPALIER_SERVE_{name}", value)
    assert call(["serve", "--print-config"]) == 0
    shown = set(capsys.readouterr().out.splitlines())
    assert {"port = 9", 'uds = "x.sock"', "queued = 7", 'unknown = "warn"', "ping = 3.0", 'log-format = "json"'} <= shown
    assert {"kv-mb = 64.0", "no-auth = true", 'name = ["a"]', 'cors-origin = ["https://a"]', "keep-alive = 5"} <= shown


def raw(client: httpx.Client, body: dict, path: str = TEXT) -> socket.socket:
    made = socket.create_connection((client.base_url.host, client.base_url.port))
    data = json.dumps(body).encode()
    made.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    return made


def test_a_reader_of_a_byte_a_second_harms_nobody():
    with server(running=2) as (process, client):
        slow = raw(client, {**LONG, "stream": True, "logprobs": 5})
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        started = time.monotonic()
        assert client.post(TEXT, json={**SHORT, "max_tokens": 50}).status_code == 200
        slow.recv(1)
        assert time.monotonic() - started < 30
        before = memory(process.pid)
        wait(lambda: metric(client, "requests_running") == 0, 60)  # it is written to its end, however slow its reader
        assert memory(process.pid) - before < 50
        slow.close()


def memory(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def test_halves_and_nonsense_harm_nobody():
    with server() as (_, client):
        half = socket.create_connection((client.base_url.host, client.base_url.port))
        half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        never = socket.create_connection((client.base_url.host, client.base_url.port))
        never.sendall(b"POST /v1/comple")
        garbage = socket.create_connection((client.base_url.host, client.base_url.port))
        garbage.sendall(b"\x16\x03\x01 what\r\n\r\n")
        assert garbage.recv(100).startswith(b"HTTP/1.1 400")
        deep = client.post(TEXT, content="[" * 10_000_000, headers={"content-type": "application/json"})
        assert deep.status_code == 413
        assert client.post(TEXT, content="[" * 7_000_000).status_code == 400
        assert client.post(TEXT, json=SHORT).status_code == 200
        for each in (half, never, garbage):
            each.close()


def test_a_thousand_idle_connections():
    with server() as (process, client):
        address = (client.base_url.host, client.base_url.port)
        idle = [socket.create_connection(address) for _ in range(1000)]
        started = time.monotonic()
        assert client.post(TEXT, json=SHORT).status_code == 200
        assert time.monotonic() - started < 10
        for each in idle:
            each.close()
        wait(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) < 100)


def test_connections_that_ask_for_nothing_are_closed():
    with server(keep_alive=1) as (_, client):
        address = (client.base_url.host, client.base_url.port)
        idle, half, twice = (socket.create_connection(address, timeout=20) for _ in range(3))
        half.sendall(b"POST /v1/comple")
        twice.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert twice.recv(1000).startswith(b"HTTP/1.1 200")
        twice.sendall(b"GET /hea")
        busy = raw(client, {**LONG, "stream": True, "max_tokens": 300})  # an answer may take longer
        for each in (idle, half, twice):
            while more := each.recv(1000):
                assert more
            each.close()
        text = b""
        while b"[DONE]" not in text:
            text += busy.recv(1 << 16)
        busy.close()


def test_eight_streams_come_to_their_end_after_sigterm():
    with server(drain=60, running=8) as (process, client):
        body = {**LONG, "max_tokens": 200, "stream": True}
        streams = [raw(client, {**body, "seed": seed}) for seed in range(8)]
        begun = [each.recv(1 << 16) for each in streams]
        process.send_signal(signal.SIGTERM)
        wait(lambda: client.get("/ready").status_code == 503)
        assert client.post(TEXT, json=SHORT).status_code == 503
        for start, each in zip(begun, streams, strict=True):
            while more := each.recv(1 << 16):
                start += more
            text = "\n\n".join(line for line in start.decode().replace("\r\n", "\n").split("\n") if line.startswith("data: "))
            assert chunks(text)[-1]["choices"][0]["finish_reason"] == "length"
        assert process.wait(timeout=30) == 0


def test_sigkill_leaves_nothing_in_the_way():
    with server() as (process, client):
        stream = raw(client, {**LONG, "stream": True})
        stream.recv(100)
        process.kill()
        assert process.wait(timeout=20) == -signal.SIGKILL
        port = client.base_url.port
        with server(port=port) as (_, again):
            assert again.base_url.port == port
            assert again.post(TEXT, json=SHORT).status_code == 200
        stream.close()


def test_a_full_disk_stops_no_answers():
    command = [sys.executable, "-c", CODE, "{}"]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=full, text=True, env=ENVIRONMENT, cwd=ROOT)
        try:
            address = process.stdout.readline().strip()
            with httpx.Client(base_url=address, timeout=60) as client:
                wait(lambda: client.get("/ready").status_code == 200, 60)
                for _ in range(3):
                    assert client.post(TEXT, json=SHORT).status_code == 200
                assert client.post(TEXT, json={"prompt": ""}).status_code == 400
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            process.communicate(timeout=30)


def test_a_body_that_does_not_come_is_answered():
    from starlette.requests import Request

    from espalier.serving.http.body_reader import json_body
    from espalier.serving.http.failure import Failure
    from espalier.serving.settings import Settings

    async def silence():
        await asyncio.sleep(60)

    request = Request({"type": "http", "headers": [], "method": "POST"}, silence)
    with pytest.raises(Failure, match="did not come") as found:
        asyncio.run(json_body(request, Settings(body_seconds=0.05)))
    assert found.value.status == 408
