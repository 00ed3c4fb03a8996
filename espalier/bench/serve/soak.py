"""`espalier bench serve --soak 20m`: many different schemas for a long time; what the server holds must not grow."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from espalier.bench.report import emit, machine
from espalier.bench.serve.systems import System
from espalier.errors import require


def seconds_of(text: str) -> float:
    """A time such as 20m, 90s or 1h, in seconds.

    >>> seconds_of("20m")
    1200.0
    """
    units = {"s": 1, "m": 60, "h": 3600}
    number = text[:-1] if text[-1:] in units else text
    require(number.replace(".", "", 1).isdigit(), f"--soak {text}: write a time such as 90s, 20m or 1h")
    return float(number) * units.get(text[-1:], 1)


def some_schema(number: int) -> dict[str, Any]:
    """One of very many schemas."""
    dice = random.Random(number)

    def name() -> str:
        return "".join(dice.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(dice.randrange(3, 9)))

    kinds: list[dict[str, Any]] = [
        {"type": "integer", "minimum": dice.randrange(100), "maximum": 100 + dice.randrange(1000)},
        {"enum": [name() for _ in range(dice.randrange(2, 20))]},
        {"type": "string", "pattern": f"^{name()}[0-9]{{1,{dice.randrange(2, 9)}}}$"},
        {"type": "string", "maxLength": dice.randrange(3, 20)},
        {"type": "array", "items": {"type": "boolean"}, "maxItems": dice.randrange(1, 5)},
    ]
    names = [name() for _ in range(dice.randrange(1, 5))]
    properties = {each: dice.choice(kinds) for each in names}
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def soak_bench(system: System, seconds: float, schemas: int, clients: int) -> dict[str, Any]:
    """Sends requests with different schemas, each a few times in all, and watches the memory of the server.

    The result says the median memory of the second and the last quarter, in MB, and how many requests failed.
    """
    until, counter, errors, done = time.monotonic() + seconds, iter(range(1 << 60)), list[str](), list[int]()
    memory = list[tuple[float, float]]()

    def work() -> None:
        while time.monotonic() < until:
            number = next(counter)
            body = {"prompt": f"{number} ", "max_tokens": 24, "json_schema": some_schema(number % schemas), "seed": number}
            data = json.dumps(body).encode()
            request = urllib.request.Request(system.url + system.path, data, {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=120) as found:
                    json.load(found)
                done.append(number)
            except (OSError, urllib.error.URLError, ValueError) as error:
                errors.append(str(error))

    with system:
        started = time.monotonic()
        threads = [threading.Thread(target=work) for _ in range(clients)]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            time.sleep(min(1.0, seconds / 200))
            memory.append((time.monotonic() - started, system.memory()))
        for thread in threads:
            thread.join()
    second, last = (sorted(mb for at, mb in memory if a <= at / seconds < b) for a, b in ((0.25, 0.5), (0.75, 1.0)))
    result = {
        "bench": "soak",
        "seconds": seconds,
        "requests": len(done),
        "schemas": min(schemas, len(done)),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "mb_second_quarter": second[len(second) // 2],
        "mb_last_quarter": last[len(last) // 2],
        "growth": last[len(last) // 2] / second[len(second) // 2] - 1,
    }
    emit([{**result, **machine()}])
    return result
