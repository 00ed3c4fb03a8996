"""`espalier bench speculation`: drafters against plain decoding and transformers' own, on Spec-Bench prompts, by category."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from espalier.bench.decode import TORCH, timed
from espalier.bench.peers import Ours, Peer, Transformers
from espalier.bench.report import emit, machine, median, show
from espalier.drafting.named import NAMED
from espalier.errors import InvalidInput, require
from espalier.lm import LanguageModel

PLAIN, THEIR_PLAIN = "espalier", "transformers"

SPEC_BENCH = Path(__file__).resolve().parents[3] / "shared" / "data" / "spec_bench" / "question_public.jsonl"
OWN = Path(__file__).with_name("questions.jsonl")  # a few of our own in the same categories, for where Spec-Bench is not
GROUPS = dict.fromkeys(  # eight categories of MT-bench are one of Spec-Bench's six
    ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"), "mt_bench"
)


@dataclass(slots=True)
class Tally:
    """What was measured of one system in one category."""

    pace: list[float] = field(default_factory=list)  # milliseconds per token, one for each run
    tokens: int = 0
    passes: int = 0
    same: int = 0
    prompts: int = 0


def load_questions(path: Path, limit: int | None, room: int, lm: LanguageModel) -> list[tuple[str, list[int]]]:
    """(category, prompt tokens) of the first turns: the first `limit` of each category, each at most `room` tokens long.

    Raises InvalidInput if the file is not one of Spec-Bench questions.
    """
    taken: dict[str, int] = {}
    questions = []
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        asked = [(GROUPS.get(row["category"], row["category"]), row["turns"][0]) for row in rows]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidInput(f"--prompts {path}: not JSON lines with 'category' and 'turns' ({error})") from error
    for category, text in asked:
        if limit is not None and taken.get(category, 0) >= limit:
            continue
        ids = lm.prompt(text).ids()
        if len(ids) <= room:
            taken[category] = taken.get(category, 0) + 1
            questions.append((category, ids))
    require(bool(questions), f"--prompts {path}: no question fits in {room} tokens")
    return questions


def systems(lm: LanguageModel, folder: Path, dtype: str, drafters: Sequence[str], peers: bool) -> list[Peer]:
    """Our plain decoding first, then our drafters, then transformers: plain, with prompt lookup, with early exit."""
    wrong = sorted(set(drafters) - set(NAMED))
    require(not wrong, f"--drafter {', '.join(wrong)}: choose from {', '.join(NAMED)}")
    all_: list[Peer] = [Ours(PLAIN, lm), *(Ours(f"espalier {name}", lm, NAMED[name](lm)) for name in drafters)]
    if peers and dtype in TORCH:
        theirs = Transformers.load(folder, TORCH[dtype])
        half = theirs.config.num_hidden_layers // 2
        all_ += [
            Transformers(THEIR_PLAIN, theirs),
            Transformers("transformers lookup", theirs, prompt_lookup_num_tokens=10),
            Transformers("transformers early exit", theirs, assistant_early_exit=half),
        ]
    for peer in all_:
        peer.ends = frozenset(lm.vocab.end)
    return all_


def measure(
    peers: Sequence[Peer], questions: Sequence[tuple[str, Sequence[int]]], tokens: int, runs: int
) -> dict[str, dict[str, Tally]]:
    """Tallies by system and category. All systems write after one prompt, in an order that turns from prompt to prompt; then
    the next prompt. Times are of whole generations, the prompt's pass included."""
    tallies: dict[str, dict[str, Tally]] = {peer.name: defaultdict(Tally) for peer in peers}
    for run in range(runs):
        spent: Counter[tuple[str, str]] = Counter()
        written: Counter[tuple[str, str]] = Counter()
        for number, (category, prompt) in enumerate(track(questions, f"run {run + 1} of {runs}", console=Console(stderr=True))):
            texts: dict[str, list[int]] = {}
            first = number % len(peers)
            for peer in [*peers[first:], *peers[:first]]:
                milliseconds, texts[peer.name] = timed(peer, prompt, tokens)
                spent[peer.name, category] += milliseconds  # type: ignore[assignment]
                written[peer.name, category] += len(texts[peer.name])
                if run == 0:
                    tally = tallies[peer.name][category]
                    tally.passes += peer.passes
                    tally.tokens += len(texts[peer.name])
                    tally.prompts += 1
            for peer in peers if run == 0 else ():
                own = PLAIN if isinstance(peer, Ours) else THEIR_PLAIN
                tallies[peer.name][category].same += texts[peer.name] == texts[own]
        for (name, category), milliseconds in spent.items():
            tallies[name][category].pace.append(milliseconds / written[name, category])
    return tallies


def results(tallies: Mapping[str, Mapping[str, Tally]], dtype: str) -> list[dict[str, Any]]:
    """One result per system and category, and one for all categories ("mean": of the categories, each with equal weight).

    `speedup` is to our own plain decoding, `ratio` to transformers' plain decoding; medians over runs. `same_text` is the
    share of texts equal to plain decoding by the same library.
    """
    lines: list[dict[str, Any]] = []
    for name, categories in tallies.items():
        rows = []
        for category, tally in categories.items():
            plain, theirs = tallies[PLAIN][category], tallies.get(THEIR_PLAIN, {}).get(category)
            rows.append(
                {
                    "bench": "speculation",
                    "system": name,
                    "dtype": dtype,
                    "category": category,
                    "prompts": tally.prompts,
                    "tokens_per_pass": round(tally.tokens / tally.passes, 3) if tally.passes else None,
                    "ms_per_token": round(median(tally.pace), 3),
                    "speedup": _times(plain, tally),
                    "ratio": _times(theirs, tally) if theirs else None,
                    "same_text": round(tally.same / tally.prompts, 3),
                }
            )
        lines += [*rows, _mean(rows)]
    return lines


def _times(base: Tally, tally: Tally) -> float:
    """How many times as fast as `base`: the median over runs, each run's two paces taken together."""
    return round(median([b / own for b, own in zip(base.pace, tally.pace, strict=True)]), 3)


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def mean(key: str) -> float | None:
        values = [row[key] for row in rows]
        return None if None in values else round(sum(values) / len(values), 3)

    keys = ("tokens_per_pass", "ms_per_token", "speedup", "ratio", "same_text")
    return {**rows[0], "category": "mean", "prompts": sum(row["prompts"] for row in rows), **{key: mean(key) for key in keys}}


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
    room: int = 1024,
) -> list[dict[str, Any]]:
    """Measures, prints a table and JSON lines, and returns the results."""
    questions = load_questions(
        prompts or (SPEC_BENCH if SPEC_BENCH.exists() else OWN), limit, min(room, lm.context - tokens), lm
    )
    chosen = systems(lm, folder, dtype, drafters, peers)
    for peer in chosen:  # first calls allocate; two tokens teach a drafter nothing to speak of
        peer.continue_greedily(questions[0][1][:32], 2)
    lines = results(measure(chosen, questions, tokens, runs), dtype)
    categories = list(dict.fromkeys(line["category"] for line in lines))
    by = {(line["system"], line["category"]): line for line in lines}
    title = f"{dtype}, {len(questions)} prompts, {tokens} tokens, {runs} runs"
    for key, what in (
        ("speedup", "speed-up over espalier plain"),
        ("tokens_per_pass", "tokens per pass"),
        ("same_text", "same text"),
    ):
        show(
            f"{what}: {title}",
            ["system", *categories],
            [[peer.name, *(_cell(by[peer.name, category][key]) for category in categories)] for peer in chosen],
        )
    about = machine()
    emit({**line, "tokens": tokens, "runs": runs, **about} for line in lines)
    return lines


def _cell(value: float | None) -> object:
    return "" if value is None else value
