"""Servers as processes: this one, and its peers where they are installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espalier.errors import InvalidInput


class System:
    """A server in a process of its own, to be entered: then it answers at `url`.

    `path` is the endpoint, `extra` what bodies need besides. Leaving ends the process.
    """

    def __init__(self, name: str, command: Sequence[str], port: int, model: str, path: str = "/v1/completions", **extra: Any):
        self.name, self.command, self.port, self.model, self.path, self.extra = name, list(command), port, model, path, extra
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> System:
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, env=self.environment())
        until = time.monotonic() + 300
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.log.seek(0)
                said = self.log.read()[-1500:].decode("utf-8", "replace")
                self.__exit__()
                raise InvalidInput(f"{self.name} did not start: {said}")
            time.sleep(0.2)
        return self

    def environment(self) -> dict[str, str]:
        """The variables of the process."""
        return dict(os.environ)

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/v1/models", timeout=5) as found:
                return bool(found.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def memory(self) -> float:
        """The resident memory of the process, in MB."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


class Own(System):
    """This library's server, with a clock in it."""

    def __init__(self, model: str | None, dtype: str, running: int = 16, **options: Any) -> None:
        self.clock = Path(tempfile.mkdtemp()) / "clock"
        port = free_port()
        given = {"port": port, "dtype": dtype, "running": running, "queued": 2000, "name": "own", **options}
        given |= {} if model is None else {"model": model}
        del given["name"]
        arguments = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        super().__init__("espalier", [sys.executable, "-m", "espalier.bench.serve.own", str(self.clock), *arguments], port, "")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.clock.parent, ignore_errors=True)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=5) as found:
                return bool(found.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU so far: of HTTP (the main thread), of the engine's thread, of it in passes; rows and passes."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        http = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        clock = np.fromfile(self.clock, np.float64, 4) if self.clock.exists() and self.clock.stat().st_size else np.zeros(4)
        return {"http": http, **dict(zip(("engine", "in_passes", "rows", "passes"), clock.tolist(), strict=True))}

    def turns(self) -> np.ndarray[Any, Any]:
        """[turns, 3]: when each turn of the engine ended, its seconds of CPU, and whether a prompt was read in it."""
        known = np.fromfile(self.clock.with_suffix(".turns"), np.float64).reshape(-1, 3)
        return known[known[:, 0] > 0]


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def transformers_serve(python: str, folder: Path, dtype: str) -> System:
    """`transformers serve --continuous-batching`."""
    port, kind = free_port(), {"bf16": "bfloat16", "fp32": "float32"}[dtype]
    command = [python, "-m", "transformers.cli.transformers", "serve", str(folder), "--continuous-batching"]
    command += ["--port", str(port), "--dtype", kind, "--device", "cpu"]
    return System("transformers serve", command, port, str(folder))


def vllm_serve(program: str, folder: Path, dtype: str) -> System:
    """vLLM's server on the CPU."""
    port, kind = free_port(), {"bf16": "bfloat16", "fp32": "float32"}[dtype]
    command = [program, "serve", str(folder), "--port", str(port), "--dtype", kind, "--max-model-len", "2048"]
    return System("vllm-cpu", command, port, str(folder), ignore_eos=True)


def llama_server(program: str, gguf: Path) -> System:
    """llama.cpp's server."""
    port = free_port()
    command = [program, "-m", str(gguf), "--port", str(port), "-np", "16", "-c", "16384", "-t", str(os.cpu_count() or 2)]
    return System("llama-server", command, port, "any", ignore_eos=True)


def clients(system: System, bodies: Sequence[Sequence[dict[str, Any]]], starts: Sequence[float] | None = None) -> Any:
    """What clients in a process of their own saw: one list of answers per client."""
    filled = [[{"model": system.model, **system.extra, **body} for body in each] for each in bodies]
    if not system.model:
        filled = [[{name: value for name, value in body.items() if name != "model"} for body in each] for each in filled]
    task = {"url": system.url, "path": system.path, "bodies": filled, "starts": list(starts) if starts else None}
    command = [sys.executable, "-m", "espalier.bench.serve.clients"]
    found = subprocess.run(command, input=json.dumps(task).encode(), stdout=subprocess.PIPE, check=True)
    return json.loads(found.stdout)
