"""`espalier bench decoders`: which decoding method suits which task, as in Shi et al. 2024, "A thorough examination of decoding
methods in the era of LLMs" (arXiv 2402.06925)."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.bench.methods.decoding_claims import counterfactual, mirostat_line
from espalier.bench.methods.decoding_scores import distinct, diversity, last_number, rep, smiles_valid
from espalier.bench.report import emit, machine, show
from espalier.errors import InvalidInput, require
from espalier.requests.prompt import raw
from espalier.requests.request import Request
from espalier.scorers import unit_tests

if TYPE_CHECKING:
    from espalier.lm import LanguageModel
    from espalier.requests.completion import Completion

BUILT_IN = Path(__file__).with_name("decoding_tasks.jsonl")
TASKS = ("continuation", "gsm8k", "humaneval", "smiles")
OTHERS = ("counterfactual", "mirostat")
SAMPLED: dict[str, Any] = {"temperature": 1.0}
GREEDY: dict[str, Any] = {"temperature": 0.0}

# what people type → options of a request; the part before the colon is the method
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beam:2": {"decoder": "beam:2"},
    "beam:4": {"decoder": "beam:4"},
    "adadec:1.0": {"decoder": "adadec:1.0"},
    "temperature:0.5": {"temperature": 0.5},
    "temperature:1.0": SAMPLED,
    **{
        name: {**SAMPLED, "shapers": (name,)}
        for name in (
            "top_k:10", "top_k:50", "top_p:0.8", "top_p:0.95", "min_p:0.05", "min_p:0.1", "typical:0.2", "typical:0.95",
            "epsilon:4e-3", "eta:4e-3", "top_n_sigma:1.0", "top_h:0.4", "mirostat:3.0", "mirostat:5.0",
        )
    },
    **{
        name: {**GREEDY, "shapers": (name,)}
        for name in (
            "repetition:1.2", "penalty:1.5", "no_repeat:4", "dry:0.8", "momentum:5, 0.2", "fsd:3, 0.45",
            "contrastive_search:5, 0.6", "dola:low", "dola:high", "deco",
        )
    },
    "dfd": {**SAMPLED, "shapers": ("dfd",)},
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A prompt, when its text ends, and what a text is worth (0 to 1), given the text and its mean log-probability."""

    prompt: Any
    worth: Callable[[str, Completion], float]
    tokens: int
    options: Mapping[str, Any] = field(default_factory=dict)


def rows(name: str, given: Path | None) -> list[dict[str, Any]]:
    """The records of a task: those of a file, or the built-in ones. Raises `InvalidInput` if there are none."""
    path = BUILT_IN if given is None else given
    try:
        if path.is_dir():  # prompts of SMILES, one a file
            prompts = [{"prompt": file.read_text("utf-8").rstrip()} for file in sorted(path.glob("*.txt")) if _asks(file)]
            require(bool(prompts), f"the data of {name}: {path} has no .txt file that ends with 'Molecule:'")
            return prompts
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the data of {name}: {path} is not a file of JSON lines ({error})") from error
    found = [record for record in records if given is not None or record["task"] == name]
    require(bool(found), f"the data of {name}: {path} has no record")
    return found


def _asks(file: Path) -> bool:
    return file.read_text("utf-8").rstrip().endswith("Molecule:")


def task(name: str, record: Mapping[str, Any], lm: LanguageModel) -> Task:
    """A record as something to write. Raises `InvalidInput` if it lacks what the task needs."""
    try:
        return _MAKERS[name](record, lm)
    except KeyError as error:
        raise InvalidInput(f"the data of {name}: a record has no {error}; it has {', '.join(record)}") from error


def _continuation(record: Mapping[str, Any], lm: LanguageModel) -> Task:
    [human] = lm.score(raw(record["prompt"]), [record["reference"]])
    usual = human.logprob / len(human.tokens)

    def worth(text: str, found: Completion) -> float:
        """Diverse, and as surprising as what a person wrote there (Holtzman et al. 2020, arXiv 1904.09751); the product is
        ours."""
        return diversity(found.tokens) * math.exp(-abs(mean_logp(found) - usual))

    return Task(raw(record["prompt"]), worth, 64, {"ignore_eos": True})


def _gsm8k(record: Mapping[str, Any], lm: LanguageModel) -> Task:
    right = last_number(record["answer"].rpartition("####")[2])
    ask = f"{record['question']}\nThink step by step, briefly. End with the answer as a number."
    return Task(ask, lambda text, _: float(last_number(text) == right), 120)


def _humaneval(record: Mapping[str, Any], lm: LanguageModel) -> Task:
    score = unit_tests([f"{record['test']}\ncheck({record['entry_point']})"], timeout=4)
    ends = ["\ndef ", "\nclass ", "\nif ", "\nprint", "\n#", "\n```", "\nassert"]
    return Task(raw(record["prompt"]), lambda text, _: score([record["prompt"] + text])[0], 96, {"stop": ends})


def _smiles(record: Mapping[str, Any], lm: LanguageModel) -> Task:
    return Task(raw(record["prompt"]), lambda text, _: float(smiles_valid(text.strip())), 40, {"stop": ["\n"]})


_MAKERS: dict[str, Callable[[Mapping[str, Any], LanguageModel], Task]] = {
    "continuation": _continuation,
    "gsm8k": _gsm8k,
    "humaneval": _humaneval,
    "smiles": _smiles,
}


def mean_logp(found: Completion) -> float:
    """The mean log-probability of a text's tokens under the model itself."""
    return statistics.fmean(found.logprobs) if found.logprobs else 0.0


def measured(
    lm: LanguageModel, name: str, setting: str, tasks: Sequence[Task], limit: int, tokens: int | None
) -> dict[str, Any]:
    """One line: `limit` texts of a task in one batch, the i-th with seed i; fewer tasks than that are asked again."""
    asked = [tasks[i % len(tasks)] for i in range(limit)]
    most = [min(t.tokens, tokens or t.tokens) for t in asked]
    options = {"drafter": None} | SETTINGS[setting] if "decoder" not in SETTINGS[setting] else SETTINGS[setting]
    requests = [Request(t.prompt, **{**options, **t.options, "seed": i, "max_tokens": most[i]}) for i, t in enumerate(asked)]
    start = time.perf_counter()
    found = lm.complete_all(requests)
    seconds = time.perf_counter() - start
    texts = [one.tokens for one in found]
    return {
        "bench": "decoders",
        "task": name,
        "decoder": setting.partition(":")[0],
        "setting": setting,
        "texts": limit,
        "score": statistics.fmean(t.worth(one.text, one) for t, one in zip(asked, found, strict=True)),
        "rep_4": statistics.fmean(map(rep, texts)),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "distinct_3": distinct(texts, 3),
        "mean_logp": statistics.fmean(map(mean_logp, found)),
        "tokens": sum(map(len, texts)),
        "seconds": round(seconds, 2),
    }


def best(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The setting with the best mean score over the tasks against the best setting of each task; None for no line.

    >>> best([{"task": "a", "setting": "s", "score": 1.0}, {"task": "a", "setting": "t", "score": 0.0}])["best_fixed"]
    's'
    """
    scores = {(line["task"], line["setting"]): float(line["score"]) for line in lines}
    tasks = list(dict.fromkeys(name for name, _ in scores))
    whole = [s for s in dict.fromkeys(s for _, s in scores) if all((name, s) in scores for name in tasks)]
    if not whole:
        return None
    fixed = max(whole, key=lambda s: statistics.fmean(scores[name, s] for name in tasks))
    each = {name: max(whole, key=lambda s, name=name: scores[name, s]) for name in tasks}  # type: ignore[misc]
    return {
        "bench": "decoders",
        "best_fixed": fixed,
        "best_fixed_score": statistics.fmean(scores[name, fixed] for name in tasks),
        "best_per_task": each,
        "best_per_task_score": statistics.fmean(scores[name, s] for name, s in each.items()),
        "tasks": {name: {"fixed": scores[name, fixed], "best": scores[name, s]} for name, s in each.items()},
    }


def check_names(tasks: Sequence[str], methods: Sequence[str]) -> None:
    """Raise `InvalidInput` for tasks and methods that there are not."""
    known = {s.partition(":")[0] for s in SETTINGS}
    wrong = sorted(set(methods) - known)
    require(not wrong, f"--decoder {', '.join(wrong)}: choose from {', '.join(sorted(known))}")
    wrong = sorted(set(tasks) - {*TASKS, *OTHERS})
    require(not wrong, f"--task {', '.join(wrong)}: choose from {', '.join((*TASKS, *OTHERS))}")


def decoders_bench(
    lm: LanguageModel,
    tasks: Sequence[str],
    data: Mapping[str, Path | None],
    methods: Sequence[str],
    limit: int,
    tokens: int | None = None,
    log: Path | None = None,
    seconds: float = math.inf,
) -> list[dict[str, Any]]:
    """One JSON line per task and setting, then the best fixed setting against the best per task. Lines of the log are kept and
    not measured again; after `seconds` no further line is begun."""
    check_names(tasks, methods)
    lines = [] if log is None or not log.exists() else [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    done, until = {(line["task"], line["setting"]) for line in lines}, time.monotonic() + seconds
    for name, setting, measure in _measures(lm, tasks, data, methods, limit, tokens):
        if (name, setting) in done or time.monotonic() > until:
            continue
        lines.append(measure())
        emit([lines[-1]])
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    if (summary := best([line for line in lines if line["task"] in TASKS])) is not None:
        emit([summary])
    emit([{"bench": "decoders", "model": lm.name, **machine()}])
    keys = ["task", "setting", "score", "rep_4", "distinct_2", "mean_logp", "surprise_bits", "seconds"]
    show("Decoding methods", keys, [[line.get(key, "") for key in keys] for line in lines])
    return lines


def _measures(
    lm: LanguageModel,
    tasks: Sequence[str],
    data: Mapping[str, Path | None],
    methods: Sequence[str],
    limit: int,
    tokens: int | None,
) -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
    for name in tasks:
        if name == "counterfactual":
            records = rows(name, None)[: max(limit, 1) * 10]
            for a in (None, 0.5, 1.0):
                setting = "greedy" if a is None else f"context_aware:{a}"
                yield name, setting, lambda a=a, r=records: counterfactual(lm, a, r)  # type: ignore[misc]
        elif name == "mirostat":
            for tau, version in ((3.0, 2), (5.0, 2), (3.0, 1)):
                setting = f"mirostat:{tau}, version={version}"
                yield name, setting, lambda t=tau, v=version: mirostat_line(lm, t, v, tokens or 2000)  # type: ignore[misc]
        else:
            made = [task(name, record, lm) for record in rows(name, data.get(name))[:limit]]
            for setting in SETTINGS:
                if not methods or setting.partition(":")[0] in methods:
                    yield name, setting, lambda n=name, s=setting, m=made: measured(lm, n, s, m, limit, tokens)  # type: ignore[misc]
