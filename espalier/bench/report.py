"""Results of benchmarks: one JSON line each, and a table for people."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib import metadata
from typing import Any

from rich.console import Console
from rich.table import Table


def machine() -> dict[str, Any]:
    """What a result depends on besides the code: date, processor, cores, versions."""
    versions = {}
    for package in ("torch", "transformers", "openvino-genai", "llguidance", "xgrammar"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"date": date.today().isoformat(), "processor": processor(), "cores": os.cpu_count(), "versions": versions}


def processor() -> str:
    """The processor's name and the vector extensions that matter here."""
    try:
        with open("/proc/cpuinfo") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    lines = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set(lines.get("flags", "").split())
    vectors = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16") if flag in flags]
    return f"{lines.get('model name', platform.machine())} ({' '.join(vectors)})"


def emit(results: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON line per result on standard output."""
    for result in results:
        line = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in result.items()}
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard error, so that standard output holds JSON lines only."""
    table = Table(title=title)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row))
    Console(stderr=True).print(table)


def median(values: Sequence[float]) -> float:
    """The median, NaN for nothing."""
    return statistics.median(values) if values else float("nan")
