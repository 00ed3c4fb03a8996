"""`espalier bench constraints`: extraction under JSON schemas, ours against transformers with the masks of other engines."""

from __future__ import annotations

import gzip
import importlib.util
import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import espalier as es
from espalier.bench.jsonschema import valid
from espalier.bench.peers import TORCH, Transformers, generate
from espalier.bench.report import emit, machine, median, show
from espalier.errors import EspalierError, InvalidInput, require
from espalier.lm import LanguageModel

SHORT = 1500  # characters of a schema, so that prompts fit a small model


@dataclass(frozen=True)
class Task:
    """Rewrite a record, given as plain lines, as JSON under a schema."""

    name: str
    schema: Any
    prompt: list[int]


def load_tasks(path: Path, limit: int, lm: LanguageModel) -> list[Task]:
    """The first `limit` tasks made of MaskBench records that have a valid instance and a short schema."""
    tasks: list[Task] = []
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            schema = record["data"]["schema"]
            valid = [test["data"] for test in record["data"]["tests"] if test["valid"]]
            if not valid or not isinstance(valid[0], dict) or not 2 <= len(valid[0]) <= 12 or len(json.dumps(schema)) > SHORT:
                continue
            lines = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in valid[0].items())
            text = f"Write this record as one JSON object.\n\n{lines}"
            tasks.append(Task(record["file"], schema, lm.prompt(text).ids()))
            if len(tasks) == limit:
                break
    require(bool(tasks), f"{path} has no record that can be used; expected MaskBench lines with 'file' and 'data'")
    return tasks


class System(ABC):
    """A system under measurement: the text it writes for a task."""

    def __init__(self, name: str, lm: LanguageModel) -> None:
        self.name, self.lm = name, lm

    @abstractmethod
    def write(self, task: Task, tokens: int) -> tuple[list[int], str]:
        """The tokens and the text, greedy, under the task's schema."""


class Ours(System):
    """This library, plain or with forced drafts (and what `auto` drafts where nothing is forced)."""

    def __init__(self, name: str, lm: LanguageModel, drafter: str | None) -> None:
        super().__init__(name, lm)
        self.drafter = drafter

    def write(self, task: Task, tokens: int) -> tuple[list[int], str]:
        out = self.lm.complete(es.Prefix(task.prompt), schema=task.schema, max_tokens=tokens, drafter=self.drafter)
        return out.tokens, out.text


class Unconstrained(System):
    """This library without the schema, writing as many tokens as with it: what a constraint costs is measured against it."""

    def write(self, task: Task, tokens: int) -> tuple[list[int], str]:
        bias = dict.fromkeys(self.lm.vocab.end, float("-inf"))
        out = self.lm.complete(es.Prefix(task.prompt), max_tokens=tokens, drafter=None, logit_bias=bias)
        return out.tokens, out.text


class Masked(System):
    """transformers' `generate` with a logits processor that applies a peer's masks."""

    def __init__(self, name: str, lm: LanguageModel, model: Any, tokenizer_file: Path, engine: str) -> None:
        super().__init__(name, lm)
        self.model, self.engine = model, engine
        self.words = torch.zeros(1, (lm.vocab.size + 31) // 32, dtype=torch.int32)
        end = min(lm.vocab.end)
        if engine == "xgrammar":
            import xgrammar

            info = xgrammar.TokenizerInfo(
                list(lm.vocab.tokens), xgrammar.VocabType.RAW, vocab_size=lm.vocab.size, stop_token_ids=sorted(lm.vocab.end)
            )
            compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
            self._start: Any = lambda schema: xgrammar.GrammarMatcher(compiler.compile_json_schema(schema, strict_mode=False))
        else:
            import llguidance

            tokenizer = llguidance.LLTokenizer(tokenizer_file.read_text("utf-8"), n_vocab=lm.vocab.size, eos_token=end)
            self._start = lambda schema: llguidance.LLMatcher(
                tokenizer, llguidance.LLMatcher.grammar_from_json_schema(schema), log_level=0
            )

    def write(self, task: Task, tokens: int) -> tuple[list[int], str]:
        from transformers import LogitsProcessorList

        matcher = self._start(json.dumps(task.schema))
        if self.engine == "llguidance" and matcher.is_error():
            raise InvalidInput(matcher.get_error())
        written = len(task.prompt)

        def mask(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            nonlocal written
            for token in ids[0, written:].tolist():
                self._commit(matcher, token)
            written = ids.shape[1]
            self._fill(matcher)
            bits = (self.words[0][:, None] >> torch.arange(32, dtype=torch.int32)) & 1
            return scores.masked_fill(bits.flatten()[: scores.shape[-1]] == 0, -torch.inf)

        options = {"eos_token_id": sorted(self.lm.vocab.end), "logits_processor": LogitsProcessorList([mask])}
        [new] = generate(self.model, [task.prompt], tokens, **options)
        return new, self.lm.tokenizer.decode(new)

    def _commit(self, matcher: Any, token: int) -> None:
        if self.engine == "xgrammar":
            matcher.accept_token(token)
        else:
            matcher.consume_token(token)

    def _fill(self, matcher: Any) -> None:
        if self.engine == "xgrammar":
            matcher.fill_next_token_bitmask(self.words)
        else:
            matcher.unsafe_compute_mask_ptr(self.words.data_ptr(), self.words.nbytes)


def extraction_bench(lm: LanguageModel, folder: Path, dtype: str, data: Path, limit: int, tokens: int) -> list[dict[str, Any]]:
    """Measures all systems on the tasks, one task after the other; prints a table and JSON lines."""

    tasks = load_tasks(data, limit, lm)
    systems: list[System] = [
        Ours("espalier", lm, None),
        Ours("espalier + forced drafts", lm, "default"),
        Unconstrained("espalier, no schema", lm),
    ]
    peers = [name for name in ("xgrammar", "llguidance") if importlib.util.find_spec(name)]
    if dtype in TORCH and peers:
        model = Transformers.load(folder, TORCH[dtype])
        systems += [Masked(f"transformers + {name}", lm, model, folder / "tokenizer.json", name) for name in peers]
    counts: dict[str, dict[str, Any]] = {
        s.name: {"finished": 0, "valid": 0, "errors": 0, "tokens": 0, "seconds": 0.0, "pace": []} for s in systems
    }
    for task in tasks:
        lengths: dict[str, int] = {}
        for system in systems:
            count = counts[system.name]
            room = lengths.get("espalier", tokens) if isinstance(system, Unconstrained) else tokens
            start = time.perf_counter()
            try:
                written, text = system.write(task, room)
            except (EspalierError, RuntimeError, ValueError) as error:
                count["errors"] += 1
                count.setdefault("first_error", f"{task.name}: {error}"[:200])
                continue
            seconds = time.perf_counter() - start
            lengths[system.name] = len(written)
            count["tokens"] += len(written)
            count["seconds"] += seconds
            count["pace"].append(1e3 * seconds / len(written))
            if not isinstance(system, Unconstrained) and written[-1] in lm.vocab.end:
                count["finished"] += 1
                count["valid"] += valid(task.schema, text)
    results = [_result(name, count, dtype, len(tasks)) for name, count in counts.items()]
    columns = ("system", "finished", "valid", "errors", "tokens_per_s", "ms_per_token_median")
    show(f"extraction under {len(tasks)} schemas, {dtype}, greedy", columns, [[r[c] for c in columns] for r in results])
    emit({**result, **machine()} for result in results)
    return results


def _result(name: str, count: dict[str, Any], dtype: str, tasks: int) -> dict[str, Any]:
    pace = count.pop("pace")
    speed = round(count["tokens"] / count["seconds"], 2) if count["seconds"] else 0.0
    count["seconds"] = round(count["seconds"], 2)
    return {"bench": "constraints", "system": name, "dtype": dtype, "tasks": tasks, **count} | {
        "tokens_per_s": speed,
        "ms_per_token_median": round(median(pace), 3),
    }
