"""Clients of a server, to be run as a process of its own: `python -m espalier.bench.serve.clients`, a task in JSON on stdin.

The task is {"url", "path", "bodies": [[body, …] per client], "starts": [seconds per client]}; each client sends its bodies
one after the other and streams the answers. Printed: one list per body, {"sent", "times", "tokens", "text", "status"}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit


async def streamed(host: str, port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Sends one body; when each piece came, how many tokens were written, and the text."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    sent = time.perf_counter()
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + data)
    status = int((await reader.readline()).split()[1])
    times, text, tokens, error = list[float](), list[str](), None, ""
    async for line in reader:
        if not line.startswith(b"data: "):
            error += line.decode("utf-8", "replace") if status != 200 else ""
            continue
        now = time.perf_counter()
        if line.startswith(b"data: [DONE]"):
            break
        event = json.loads(line[6:])
        if "error" in event:
            status, error = 500, str(event["error"])
            break
        usage = event.get("usage")
        tokens = usage["completion_tokens"] if usage else tokens
        for choice in event.get("choices", []):
            piece = choice.get("text") or (choice.get("delta") or {}).get("content")
            if piece:
                times.append(now)
                text.append(piece)
    writer.close()
    counted = len(times) if tokens is None else tokens
    return {"sent": sent, "times": times, "tokens": counted, "text": "".join(text), "status": status, "error": error[-300:]}


async def client(host: str, port: int, path: str, bodies: list[dict[str, Any]], start: float) -> list[dict[str, Any]]:
    """One client: its bodies one after the other."""
    await asyncio.sleep(start)
    return [await streamed(host, port, path, body) for body in bodies]


async def main(task: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """All clients at once."""
    parts = urlsplit(task["url"])
    starts = task.get("starts") or [0.0] * len(task["bodies"])
    all_at_once = (
        client(parts.hostname or "", parts.port or 80, task["path"], bodies, start)
        for bodies, start in zip(task["bodies"], starts, strict=True)
    )
    return list(await asyncio.gather(*all_at_once))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
