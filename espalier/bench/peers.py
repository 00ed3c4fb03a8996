"""The systems that are measured side by side: greedy continuation of given tokens by exactly so many tokens.

`python -m espalier.bench.peers SYSTEM DTYPE [MODEL]` prints the peak memory in MiB of one of them, alone in a process.
"""

from __future__ import annotations

import importlib
import importlib.util
import resource
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

import espalier as es
from espalier.drafting.draft import Drafter
from espalier.lm import LanguageModel
from espalier.requests.completion import Stats
from espalier.requests.meter import Meter

TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Peer(ABC):
    """A system under measurement. `continue_greedily` writes exactly `tokens` tokens after a prompt; end tokens do not stop it
    unless they are in `ends`."""

    name: str
    ends: frozenset[int] = frozenset()
    passes: int = 0  # forward passes of the last continuation, where the system tells
    first_ms: float | None = None  # how long its first token took, the prompt's pass included, where the system tells

    @abstractmethod
    def continue_greedily(self, prompt: Sequence[int], tokens: int) -> list[int]:
        """The tokens written."""


class Ours(Peer):
    """This library, plain or with a drafter."""

    def __init__(self, name: str, lm: LanguageModel, drafter: Drafter | None = None) -> None:
        self.name, self.lm, self.drafter = name, lm, drafter
        self._going_on = es.bias(dict.fromkeys(lm.vocab.end, float("-inf")))

    def continue_greedily(self, prompt: Sequence[int], tokens: int) -> list[int]:
        stats = Stats()
        meter = Meter(self.lm.model, stats)
        scorer = (meter if self.ends else meter | self._going_on) | es.temperature(0)
        x, stop, rng = es.Prefix(prompt), es.stop.end(self.ends) | es.stop.budget(tokens), es.Rng(0)
        if self.drafter is None:
            decoder = es.sample(scorer, x, stop, rng)
        else:
            decoder = es.speculate(scorer, x, stop, self.drafter, es.verification.SampleMatch(), rng)
        loop, start = es.Loop(), time.perf_counter()
        number = loop.add(decoder)
        self.first_ms = None
        while loop:
            loop.turn()
            if stats.passes and self.first_ms is None:  # a drafter's own model may take turns before the target's next pass
                self.first_ms = 1e3 * (time.perf_counter() - start)
        if number in loop.errors:
            raise loop.errors[number]
        self.passes = stats.passes
        return loop.results[number].written()  # type: ignore[no-any-return]

    def together(self, prompts: Sequence[Sequence[int]], tokens: int) -> None:
        """Writes exactly `tokens` tokens after each prompt, all requests on one loop."""
        scorer, stop, loop = self.lm.scorer | self._going_on | es.temperature(0), es.stop.budget(tokens), es.Loop()
        numbers = [loop.add(es.sample(scorer, es.Prefix(prompt), stop, es.Rng(0))) for prompt in prompts]
        while loop:
            loop.turn()
        if failed := [number for number in numbers if number in loop.errors]:
            raise loop.errors[failed[0]]


def generate(model: Any, prompts: Sequence[Sequence[int]], tokens: int, **options: Any) -> list[list[int]]:
    """What transformers' `generate` writes greedily after prompts of equal length, up to `tokens` tokens each."""
    ids = torch.tensor([list(prompt) for prompt in prompts], device=model.device)
    with torch.inference_mode():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=0, **options
        )
    return out[:, ids.shape[1] :].tolist()  # type: ignore[no-any-return]


class Transformers(Peer):
    """transformers' `generate`, greedy, with options such as prompt_lookup_num_tokens."""

    def __init__(self, name: str, model: Any, **options: Any) -> None:
        self.name, self.model, self.options = name, model, options

    @staticmethod
    def load(folder: Path, dtype: torch.dtype) -> Any:
        """The model of a folder, as transformers loads it."""
        import transformers

        transformers.utils.logging.set_verbosity_error()
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    def continue_greedily(self, prompt: Sequence[int], tokens: int) -> list[int]:
        until = {"eos_token_id": sorted(self.ends)} if self.ends else {"min_new_tokens": tokens}
        return generate(self.model, [prompt], tokens, **until, **self.options)[0]

    def together(self, prompts: Sequence[Sequence[int]], tokens: int) -> None:
        """Writes exactly `tokens` tokens after each prompt, all of one length, in one batch."""
        generate(self.model, prompts, tokens, min_new_tokens=tokens)


class LlamaCpp(Peer):
    """llama.cpp's server (the package xllamacpp) on a GGUF file, greedy, with a slot for each request."""

    def __init__(self, name: str, file: Path, slots: int, room: int, threads: int, encode: Callable[[str], list[int]]) -> None:
        xllamacpp = importlib.import_module("xllamacpp")
        params = xllamacpp.CommonParams()
        params.model.path, params.n_parallel, params.n_ctx, params.verbosity = str(file), slots, slots * room, -1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        self.name, self._encode, self._server = name, encode, xllamacpp.Server(params)

    @staticmethod
    def installed() -> bool:
        """Whether xllamacpp can be imported."""
        return importlib.util.find_spec("xllamacpp") is not None

    def _complete(self, prompt: Sequence[int], tokens: int) -> str:
        asked = {"prompt": list(prompt), "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        said = self._server.handle_completions(asked)
        if said.get("usage", {}).get("completion_tokens") != tokens:
            raise RuntimeError(f"llama.cpp was asked for {tokens} tokens and answered {str(said)[:200]}")
        return str(said["choices"][0]["text"])

    def continue_greedily(self, prompt: Sequence[int], tokens: int) -> list[int]:
        return self._encode(self._complete(prompt, tokens))

    def together(self, prompts: Sequence[Sequence[int]], tokens: int) -> None:
        """Writes exactly `tokens` tokens after each prompt, each asked for by a thread of its own."""
        with ThreadPoolExecutor(len(prompts)) as threads:
            list(threads.map(lambda prompt: self._complete(prompt, tokens), prompts))


class OpenVino(Peer):
    """OpenVINO GenAI, greedy, on a folder converted for it (optimum-intel's layout)."""

    def __init__(self, name: str, folder: Path) -> None:
        import numpy
        import openvino
        import openvino_genai

        self.name, self._ov, self._np, self._genai = name, openvino, numpy, openvino_genai
        self._pipe = openvino_genai.LLMPipeline(str(folder), "CPU")

    @staticmethod
    def installed() -> bool:
        """Whether OpenVINO GenAI can be imported."""
        return importlib.util.find_spec("openvino_genai") is not None

    def continue_greedily(self, prompt: Sequence[int], tokens: int) -> list[int]:
        config = self._genai.GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens, ignore_eos=True, do_sample=False)
        ids = self._ov.Tensor(self._np.array([list(prompt)], dtype="int64"))
        mask = self._ov.Tensor(self._np.ones((1, len(prompt)), dtype="int64"))
        result = self._pipe.generate(self._genai.TokenizedInputs(ids, mask), config)
        return list(result.tokens[0])


def peak_mb(system: str, dtype: str, model: str | None) -> float | None:
    """The peak memory of loading and writing 16 tokens after 128, "espalier" or "transformers"; None if that failed."""
    command = [sys.executable, "-m", "espalier.bench.peers", system, dtype, *([model] if model else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def main(system: str, dtype: str, model: str | None = None) -> None:
    """Runs the system and prints its peak."""
    from espalier.models.load.open import load, locate

    peer: Peer
    if system == "espalier":
        peer = Ours(system, load(model, dtype=dtype))
    else:
        peer = Transformers(system, Transformers.load(locate(model), TORCH[dtype]))
    peer.continue_greedily(list(range(100, 228)), 16)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
