"""Scores for searches and rerankers: each takes candidates (or texts) and gives one number for each."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from espalier.decoders.beams.hypothesis import checked
from espalier.errors import InvalidInput, require
from espalier.scorers.sandbox import passes

if TYPE_CHECKING:
    from espalier.lm import LanguageModel

Scoring = Callable[[list[Any]], list[float]]


def text_of(candidate: Any) -> str:
    """The text of a candidate, of a completion, or of a text.

    >>> text_of("a")
    'a'
    """
    return candidate if isinstance(candidate, str) else str(candidate.text)


def unit_tests(code: str | Sequence[str], timeout: float = 2, memory_mb: int = 256) -> Scoring:
    """The share of tests that a candidate's Python passes; `code` is one test or a list of them.

    Each text is run once, in a process of its own that has `timeout` seconds and `memory_mb` for all tests, no network and
    no other processes, and that is killed as a group.

    >>> unit_tests(["assert f(2) == 4", "assert f(3) == 9"])(["def f(x): return x * x", "def f(x): return 4"])
    [1.0, 0.5]
    """
    tests = [code] if isinstance(code, str) else list(code)
    require(len(tests) > 0, "there are no tests; give at least one, such as 'assert f(2) == 4'")
    require(timeout > 0 and memory_mb >= 64, f"timeout={timeout}, memory_mb={memory_mb}: above 0 seconds, at least 64 MB")
    known: dict[str, float] = {}

    def score(candidates: list[Any]) -> list[float]:
        for text in {text_of(c) for c in candidates} - known.keys():
            known[text] = sum(passes(text, tests, timeout, memory_mb)) / len(tests)
        return [known[text_of(c)] for c in candidates]

    return score


def model_logp(lm: LanguageModel, prompt: Any = None, mean: bool = False) -> Scoring:
    """The log-probability that a language model gives to each text, after a prompt; `mean`: per token. One packed pass.

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> model_logp(lm, es.raw("2 + 2 ="))([" 4", " 5"])  # doctest: +SKIP
    """

    def score(candidates: list[Any]) -> list[float]:
        texts = [text_of(c) for c in candidates]
        filled = [text for text in texts if text]
        scored = iter(lm.score(prompt if prompt is not None else "\n", filled)) if filled else iter(())
        found = []
        for text in texts:
            each = next(scored) if text else None
            value = each.logprob if each is not None else 0.0
            found.append(value / max(len(each.tokens), 1) if mean and each is not None else value)
        return found

    return score


def reward(hf_model: Any, tokenizer: Any = None, batch: int = 16) -> Scoring:
    """The first logit of a transformers classifier (a reward model) for each text.

    `tokenizer`: the one that was saved beside the model, found by the model's name, unless it is given.

    >>> reward(None)([])
    []
    """

    def score(candidates: list[Any]) -> list[float]:
        import torch

        values: list[float] = []
        texts = [text_of(c) for c in candidates]
        nonlocal tokenizer
        if tokenizer is None and texts:
            tokenizer = _saved_beside(hf_model)
        for at in range(0, len(texts), batch):
            inputs = tokenizer(texts[at : at + batch], return_tensors="pt", padding=True, truncation=True)
            with torch.no_grad():
                values += hf_model(**inputs).logits[:, 0].float().tolist()
        return values

    return score


def _saved_beside(hf_model: Any) -> Any:
    from transformers import AutoTokenizer

    name = getattr(hf_model, "name_or_path", "")
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"no tokenizer was found by the name of the reward model, {name!r}; give reward(model, tokenizer)"
        ) from error


def calibrated(score: Scoring, reference_samples: Sequence[Any]) -> Scoring:
    """The share of reference samples that a score ranks below a candidate (ties count half): between 0 and 1, and the same
    for every increasing transformation of the score. Balashankar et al. 2024, InfAlign (arXiv 2412.19792).

    >>> calibrated(lambda texts: [float(len(t)) for t in texts], ["a", "bb", "ccc", "dddd"])(["bb", "zzzzz"])
    [0.375, 1.0]
    """
    require(len(reference_samples) > 0, "calibrated needs samples to compare with; draw some from the model itself")
    line = sorted(checked(score(list(reference_samples)), len(reference_samples), "the score"))

    def ranked(candidates: list[Any]) -> list[float]:
        values = checked(score(candidates), len(candidates), "the score")
        return [(bisect.bisect_left(line, v) + bisect.bisect_right(line, v)) / 2 / len(line) for v in values]

    return ranked


def staged(*stages: tuple[Scoring, float]) -> Scoring:
    """Scores in stages, the cheap ones first: (score, least) means that only candidates with at least `least` go on.

    One that fails at stage s of S scores s − S + min(score − least, 0) / (1 + |score − least|), always below those that go
    further; one that passes all has the last stage's score (at least 0 is wise). For hardware: compile, function, area.

    >>> calls = []
    >>> dear = lambda texts: [calls.append(t) or 1.0 for t in texts]
    >>> staged((lambda texts: [float("a" in t) for t in texts], 1.0), (dear, 0.0))(["ab", "c"]), calls
    ([1.0, -2.5], ['ab'])
    """
    require(len(stages) > 0, "give at least one stage: (score, least)")

    def score(candidates: list[Any]) -> list[float]:
        found = [-math.inf] * len(candidates)
        alive = list(range(len(candidates)))
        for number, (stage, least) in enumerate(stages):
            values = checked(stage([candidates[i] for i in alive]), len(alive), f"stage {number}") if alive else []
            for i, value in zip(alive, values, strict=True):
                short = min(value - least, 0.0)
                found[i] = value if short == 0 else number - len(stages) + short / (1 - short)
            alive = [i for i, value in zip(alive, values, strict=True) if value >= least]
        return found

    return score
