"""`espalier bench speculation`: drafters against plain decoding and transformers' own, on Spec-Bench prompts, by category."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from rich.console import Console
from rich.progress import track

from espalier import catalogue
from espalier.bench.decoding import timed
from espalier.bench.peers import TORCH, Ours, Peer, Transformers
from espalier.bench.report import emit, machine, median, show
from espalier.errors import InvalidInput, require
from espalier.lm import LanguageModel

PLAIN, THEIR_PLAIN = "espalier", "transformers"
LONG = 32  # tokens of a text that is long enough for drafts to make up for what was tried

SPEC_BENCH = Path(__file__).resolve().parents[3] / "shared" / "data" / "spec_bench" / "question_public.jsonl"
OWN = Path(__file__).with_name("questions.jsonl")  # a few of our own in the same categories, for where Spec-Bench is not
GROUPS = dict.fromkeys(  # eight categories of MT-bench are one of Spec-Bench's six
    ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"), "mt_bench"
)


@dataclass(slots=True)
class Tally:
    """What was measured of one system in one category."""

    pace: list[float] = field(default_factory=list)  # milliseconds per token, one for each run
    decode: list[float] = field(default_factory=list)  # the same without the first token and its prompt, where known
    tokens: int = 0
    passes: int = 0
    same: int = 0
    prompts: int = 0
    times: list[tuple[float, int]] = field(default_factory=list)  # of each text: plain's time in times of its own, its tokens


@dataclass(frozen=True, slots=True)
class Sample:
    """One text of one system: what a line of the log holds."""

    run: int
    question: int  # a checksum of the prompt's tokens
    category: str
    system: str
    ms: float
    first_ms: float | None
    tokens: int
    passes: int
    same: bool


def load_questions(path: Path, limit: int | None, room: int, lm: LanguageModel, start: int = 0) -> list[tuple[str, list[int]]]:
    """(category, prompt tokens) of the first turns: of each category's, from number `start` on, the first `limit` that are at
    most `room` tokens long; the first of every category, then the second of every category, and so on.

    Raises InvalidInput if the file is not one of Spec-Bench questions.
    """
    taken: dict[str, int] = {}
    skipped: Counter[str] = Counter()
    questions: list[tuple[int, str, list[int]]] = []
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        asked = [(GROUPS.get(row["category"], row["category"]), row["turns"][0]) for row in rows]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidInput(f"--prompts {path}: not JSON lines with 'category' and 'turns' ({error})") from error
    for category, text in asked:
        if limit is not None and taken.get(category, 0) >= limit:
            continue
        if skipped[category] < start:
            skipped[category] += 1
            continue
        ids = lm.prompt(text).ids()
        if len(ids) <= room:
            taken[category] = taken.get(category, 0) + 1
            questions.append((taken[category], category, ids))
    require(bool(questions), f"--prompts {path}: no question fits in {room} tokens")
    return [(category, ids) for _, category, ids in sorted(questions, key=lambda question: question[0])]


def systems(lm: LanguageModel, drafters: Sequence[str], theirs: Any = None) -> list[Peer]:
    """Our plain decoding first, then our drafters, new ones, then transformers: plain, with prompt lookup, with early exit."""
    wrong = sorted(set(drafters) - set(catalogue.names("drafter", typed=True)))
    require(not wrong, f"--drafter {', '.join(wrong)}: choose from {', '.join(catalogue.names('drafter'))}")
    made = {name: catalogue.find("drafter", name).typical(lm.model) for name in drafters}
    all_: list[Peer] = [Ours(PLAIN, lm), *(Ours(f"espalier {name}", lm, drafter) for name, drafter in made.items())]
    if theirs is not None:
        all_ += [
            Transformers(THEIR_PLAIN, theirs),
            Transformers("transformers lookup", theirs, prompt_lookup_num_tokens=10),
            Transformers("transformers early exit", theirs, assistant_early_exit=theirs.config.num_hidden_layers // 2),
        ]
    for peer in all_:
        peer.ends = frozenset(lm.vocab.end)
    return all_


def measure(
    make: Callable[[], Sequence[Peer]],
    questions: Sequence[tuple[str, Sequence[int]]],
    tokens: int,
    runs: int,
    log: Path | None = None,
    seconds: float = math.inf,
) -> list[Sample]:
    """Every text of every system. All write after one prompt, in an order that turns from prompt to prompt; then the next one.

    Systems are made anew for each run, so that none has seen the texts before. Times are of whole generations, the prompt's
    pass included. What is in the log already is not measured again, and after `seconds` no further prompt is begun.
    """
    samples = read_log(log) if log is not None else []
    known = {(sample.run, sample.question) for sample in samples}
    until = time.monotonic() + seconds
    for run in range(runs):
        peers = make()
        for number, (category, prompt) in enumerate(track(questions, f"run {run + 1} of {runs}", console=Console(stderr=True))):
            question = crc32(json.dumps(list(prompt)).encode())
            if (run, question) in known or time.monotonic() > until:
                continue
            taken: dict[str, tuple[float, float | None, list[int], int]] = {}
            first = (number + run) % len(peers)
            for peer in [*peers[first:], *peers[:first]]:
                ms, text = timed(peer, prompt, tokens)
                taken[peer.name] = ms, peer.first_ms, text, peer.passes
            new = []
            for peer in peers:
                ms, first_ms, text, passes = taken[peer.name]
                same = text == taken[PLAIN if isinstance(peer, Ours) else THEIR_PLAIN][2]
                new.append(Sample(run, question, category, peer.name, ms, first_ms, len(text), passes, same))
            samples += new
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(asdict(sample)) + "\n" for sample in new)
    return samples


def read_log(path: Path) -> list[Sample]:
    """The samples of a log; none if there is no such file. Raises InvalidInput if it is something else."""
    if not path.exists():
        return []
    try:
        return [Sample(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"--log {path}: not a log of this benchmark ({error}); name a new file") from error


def tally(samples: Iterable[Sample]) -> dict[str, dict[str, Tally]]:
    """Tallies by system and category. Counts are of the first run; a run's pace is all its time over all its tokens."""
    by: dict[tuple[str, str], dict[int, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    samples = list(samples)
    plain = {(sample.run, sample.question): sample.ms for sample in samples if sample.system == PLAIN}
    for sample in samples:
        by[sample.system, sample.category][sample.run].append(sample)
    tallies: dict[str, dict[str, Tally]] = defaultdict(dict)
    for (system, category), runs in by.items():
        one = tallies[system][category] = Tally(prompts=len(runs[0]))
        for texts in runs.values():
            one.pace.append(sum(text.ms for text in texts) / sum(text.tokens for text in texts))
            firsts = [text.first_ms for text in texts if text.first_ms is not None]
            if len(firsts) == len(texts):
                one.decode.append((sum(text.ms for text in texts) - sum(firsts)) / sum(text.tokens for text in texts))
        one.tokens, one.passes = sum(text.tokens for text in runs[0]), sum(text.passes for text in runs[0])
        one.same = sum(text.same for text in runs[0])
        one.times = [(plain[text.run, text.question] / text.ms, text.tokens) for texts in runs.values() for text in texts]
    return tallies


def results(tallies: Mapping[str, Mapping[str, Tally]], dtype: str) -> list[dict[str, Any]]:
    """One result per system and category, and one for all categories ("mean": of the categories, each with equal weight).

    `speedup` is to our own plain decoding, `speedup_decode` without the first tokens' time, `ratio` to transformers' plain
    decoding; medians over runs. `same_text` is the share of texts equal to plain decoding by the same library, `slowest` the
    longest time of a text, in times of plain decoding's.
    """
    lines: list[dict[str, Any]] = []
    for name, categories in tallies.items():
        rows = []
        for category, one in categories.items():
            plain, theirs = tallies[PLAIN][category], tallies.get(THEIR_PLAIN, {}).get(category)
            rows.append(
                {
                    "bench": "speculation",
                    "system": name,
                    "dtype": dtype,
                    "category": category,
                    "prompts": one.prompts,
                    "tokens_per_pass": round(one.tokens / one.passes, 3) if one.passes else None,
                    "ms_per_token": round(median(one.pace), 3),
                    "speedup": _times(plain.pace, one.pace),
                    "speedup_decode": _times(plain.decode, one.decode),
                    "ratio": _times(theirs.pace, one.pace) if theirs else None,
                    "same_text": round(one.same / one.prompts, 3),
                    **_of_texts(one.times),
                }
            )
        lines += [*rows, _mean(rows) | _of_texts([each for one in categories.values() for each in one.times])]
    return lines


def _of_texts(times: Sequence[tuple[float, int]]) -> dict[str, float | None]:
    """The mean of the texts' own speed-ups, and the slowest text and the slowest of LONG tokens, in times of plain's time."""
    long = [speedup for speedup, tokens in times if tokens >= LONG]
    return {
        "speedup_texts": round(sum(speedup for speedup, _ in times) / len(times), 3),
        "slowest": round(1 / min(speedup for speedup, _ in times), 3),
        "slowest_long": round(1 / min(long), 3) if long else None,
    }


def _times(base: Sequence[float], own: Sequence[float]) -> float | None:
    """How many times as fast as `base`: the median over runs, each run's two paces taken together; None if not known."""
    return round(median([b / o for b, o in zip(base, own, strict=True)]), 3) if base and own else None


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def mean(key: str) -> float | None:
        values = [row[key] for row in rows]
        return None if None in values else round(sum(values) / len(values), 3)

    keys = ("tokens_per_pass", "ms_per_token", "speedup", "speedup_decode", "ratio", "same_text")
    prompts = sum(row["prompts"] for row in rows)
    return {**rows[0], "category": "mean", "prompts": prompts, **{key: mean(key) for key in keys}}


def speculation_bench(
    lm: LanguageModel,
    folder: Path,
    dtype: str,
    prompts: Path | None,
    drafters: Sequence[str],
    limit: int | None,
    tokens: int,
    runs: int,
    peers: bool = True,
    room: int = 2048,
    start: int = 0,
    log: Path | None = None,
    seconds: float = math.inf,
) -> list[dict[str, Any]]:
    """Measures, prints a table and JSON lines, and returns the results."""
    path = prompts or (SPEC_BENCH if SPEC_BENCH.exists() else OWN)
    questions = load_questions(path, limit, min(room, lm.context - tokens), lm, start)
    theirs = Transformers.load(folder, TORCH[dtype]) if peers and dtype in TORCH else None
    for peer in systems(lm, drafters, theirs):  # first calls allocate
        peer.continue_greedily(questions[0][1][:32], 2)
    samples = measure(lambda: systems(lm, drafters, theirs), questions, tokens, runs, log, seconds)
    lines = results(tally(samples), dtype)
    categories = list(dict.fromkeys(line["category"] for line in lines))
    by = {(line["system"], line["category"]): line for line in lines}
    done = len({sample.question for sample in samples})
    title = f"{dtype}, {done} prompts, {tokens} tokens, {1 + max(sample.run for sample in samples)} runs"
    for key, what in (
        ("speedup", "speed-up over espalier plain"),
        ("speedup_decode", "speed-up without the first token"),
        ("tokens_per_pass", "tokens per pass"),
        ("same_text", "same text"),
        ("speedup_texts", "mean of the texts' own speed-ups"),
        ("slowest", "slowest text, in times of plain"),
        ("slowest_long", f"slowest text of {LONG} tokens or more, in times of plain"),
    ):
        show(
            f"{what}: {title}",
            ["system", *categories],
            [[name, *(_cell(by[name, category][key]) for category in categories)] for name in dict.fromkeys(n for n, _ in by)],
        )
    about = machine()
    emit({**line, "tokens": tokens, **about} for line in lines)
    return lines


def _cell(value: float | None) -> object:
    return "" if value is None else value
