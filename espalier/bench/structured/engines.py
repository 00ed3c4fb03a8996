"""Engines of JSON schemas behind one interface, each in a process of its own that may be killed.

`python -m espalier.bench.structured.engines ENGINE TOKENIZER_JSON` reads a line {"schema", "documents": [text]} and answers
with a line of verdicts and times, until its input ends. Peers are optional packages: llguidance, xgrammar, outlines-core.
"""

from __future__ import annotations

import json
import resource
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

MEMORY = 8 << 30  # bytes of address space of an engine's process: past it, it counts as crashed


class JsonEngine(Protocol):
    """One text after the other: `compile`, `start`, then `mask()` writes into `words` and `commit(token)` moves on."""

    words: np.ndarray[Any, Any]

    def compile(self, schema: str) -> None: ...
    def start(self) -> None: ...
    def mask(self) -> Any: ...
    def commit(self, token: int) -> Any: ...


class Llguidance:
    """llguidance's matcher."""

    def __init__(self, tokens: Sequence[bytes | None], end: int, file: Path) -> None:
        import llguidance

        self._lib, self.words = llguidance, np.zeros((len(tokens) + 31) // 32, dtype=np.int32)
        self._tokenizer = llguidance.LLTokenizer(file.read_text("utf-8"), n_vocab=len(tokens), eos_token=end)

    def compile(self, schema: str) -> None:
        self._matcher = self._made(self._lib.LLMatcher.grammar_from_json_schema(schema))
        if self._matcher.is_error():
            raise ValueError(self._matcher.get_error())

    def _made(self, grammar: str) -> Any:
        return self._lib.LLMatcher(self._tokenizer, grammar, log_level=0)

    def start(self) -> None:
        self._matcher.reset()

    def mask(self) -> None:
        self._matcher.unsafe_compute_mask_ptr(self.words.ctypes.data, self.words.nbytes)

    def commit(self, token: int) -> None:
        self._matcher.consume_token(token)


class Xgrammar:
    """xgrammar's matcher: one thread, no cache between schemas, members that are not listed allowed as JSON Schema has it."""

    def __init__(self, tokens: Sequence[bytes | None], end: int, file: Path) -> None:
        import torch
        import xgrammar

        self._lib = xgrammar
        kept = [token if token is not None else b"" for token in tokens]
        info = xgrammar.TokenizerInfo(kept, xgrammar.VocabType.RAW, vocab_size=len(tokens), stop_token_ids=[end])
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self._bits = torch.zeros(1, (len(tokens) + 31) // 32, dtype=torch.int32)
        self.words = self._bits[0].numpy()

    def compile(self, schema: str) -> None:
        self._grammar = self._compiler.compile_json_schema(schema, strict_mode=False)

    def start(self) -> None:
        self._matcher = self._lib.GrammarMatcher(self._grammar)

    def mask(self) -> None:
        if not self._matcher.fill_next_token_bitmask(self._bits):
            self._bits.fill_(-1)  # it says that nothing is refused, and writes nothing

    def commit(self, token: int) -> None:
        self._matcher.accept_token(token)


class Outlines:
    """outlines-core's index: the schema as one regular expression, an automaton over the tokens made at once."""

    def __init__(self, tokens: Sequence[bytes | None], end: int, file: Path) -> None:
        import outlines_core

        self._lib, self.words = outlines_core, np.zeros((len(tokens) + 31) // 32, dtype=np.int32)
        known: dict[bytes, list[int]] = {}
        for id, token in enumerate(tokens):
            if token and id != end:
                known.setdefault(token, []).append(id)
        self._vocab = outlines_core.Vocabulary(end, known)

    def compile(self, schema: str) -> None:
        pattern = self._lib.json_schema.build_regex_from_schema(schema)
        self._index = self._lib.Index(pattern, self._vocab)

    def start(self) -> None:
        self._guide = self._lib.Guide(self._index)

    def mask(self) -> None:
        self._guide.write_mask_into(self.words.ctypes.data, self.words.size, 4)

    def commit(self, token: int) -> None:
        self._guide.advance(token, False)


PEERS: dict[str, tuple[str, Any]] = {
    "llguidance": ("llguidance", Llguidance),
    "xgrammar": ("xgrammar", Xgrammar),
    "outlines-core": ("outlines_core", Outlines),
}


def installed() -> list[str]:
    """The engines that can be measured here, ours first.

    >>> installed()[0]
    'espalier'
    """
    return ["espalier", *(name for name, (module, _) in PEERS.items() if find_spec(module))]


def engine(name: str, file: Path) -> JsonEngine:
    """The engine of this name over the tokens of a tokenizer.json."""
    from espalier.bench.maskbench import Engine
    from espalier.text.tokenizer import Tokenizer

    vocab = Tokenizer.from_folder(file.parent).vocab
    end = min(vocab.end)
    made: JsonEngine = Engine(vocab.tokens, end) if name == "espalier" else PEERS[name][1](vocab.tokens, end, file)
    return made


def allowed(words: Any, token: int) -> bool:
    """Whether the bit of a token is set."""
    return bool((int(words[token >> 5]) >> (token & 31)) & 1)


def clock() -> tuple[float, float]:
    """Wall and processor time."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> float:
    """Seconds since a clock: the lesser of wall and processor time, so that other programs do not count."""
    now = clock()
    return min(now[0] - start[0], now[1] - start[1])


def judged(engine: JsonEngine, tokens: Sequence[int], end: int, steps: list[float]) -> bool:
    """Whether the engine lets a document through, end included; the seconds of each commit and mask are appended."""
    engine.start()
    engine.mask()
    for token in tokens:
        if not allowed(engine.words, token):
            return False
        start = clock()
        engine.commit(token)
        engine.mask()
        steps.append(since(start))
    return allowed(engine.words, end)


def answered(engine: JsonEngine, encode: Any, end: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Verdicts and times of one schema."""
    start = clock()
    try:
        engine.compile(asked["schema"])
        compiled = since(start)
        engine.start()
        engine.mask()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    first, steps = since(start), list[float]()
    try:
        verdicts = [judged(engine, encode(text), end, steps) for text in asked["documents"]]
    except Exception as error:
        return {"compile": compiled, "first": first, "late_error": f"{type(error).__name__}: {error}"[:200]}
    return {"compile": compiled, "first": first, "verdicts": verdicts, "steps": steps}


class Worker:
    """An engine in a process of its own; a question that takes too long, or kills it, gets an answer that says so."""

    def __init__(self, name: str, file: Path, seconds: float) -> None:
        self.name, self.file, self.seconds = name, file, seconds
        self._process: subprocess.Popen[str] | None = None

    def ask(self, schema: Any, documents: Sequence[str]) -> dict[str, Any]:
        """What `answered` says, or {"error": "timeout"}, {"error": "crash"}."""
        process = self._process or self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"schema": json.dumps(schema), "documents": list(documents)}) + "\n")
            process.stdin.flush()
            return self._line(process, self.seconds)
        except (BrokenPipeError, ValueError):
            self.close()
            return {"error": "crash"}

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "espalier.bench.structured.engines", self.name, str(self.file)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert "ready" in self._line(self._process, 120.0), f"{self.name} does not start"
        return self._process

    def _line(self, process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            self.close()
            return {"error": "timeout"}
        line = process.stdout.readline()
        if not line:
            raise BrokenPipeError
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main() -> None:
    """The process of one engine."""
    from tokenizers import Tokenizer

    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    name, file = sys.argv[1], Path(sys.argv[2])
    made, fast = engine(name, file), Tokenizer.from_file(str(file))
    from espalier.text.tokenizer import Tokenizer as Ours

    end = min(Ours.from_folder(file.parent).vocab.end)
    out = sys.stdout
    out.write('{"ready": true}\n')
    out.flush()
    for line in sys.stdin:
        said = answered(made, lambda text: fast.encode(text, add_special_tokens=False).ids, end, json.loads(line))
        out.write(json.dumps(said) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
