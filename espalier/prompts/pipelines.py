"""Pipelines of prompts: a memory over queries, a sketch that is cleaned up, terms that must appear, plans of source units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from espalier.errors import require
from espalier.prompts.text_model import TextModel, ask_all, asked


@dataclass
class cheatsheet:
    """A memory that grows over queries: each question is answered with it, and it is rewritten from what was learnt.

    With `similar` (a similarity of two questions) the three nearest past pairs are curated into it before answering, else it is
    curated after. It never has more than `limit` characters. Suzgun et al. 2025, Dynamic Cheatsheet (arXiv 2504.07952).

    >>> class Say:
    ...     def complete(self, prompt, **options):
    ...         return "keep" if "new cheatsheet" in prompt else "4"
    >>> sheet = cheatsheet(Say())
    >>> sheet("2 + 2?"), sheet.memory
    ('4', 'keep')
    """

    model: TextModel
    memory: str = ""
    limit: int = 8000
    similar: Callable[[str, str], float] | None = None
    past: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, question: str, **options: Any) -> str:
        if self.similar is not None:
            near = sorted(self.past, key=lambda pair: -self.similar(question, pair[0]))[:3]  # type: ignore[misc]
            self._curate(question, near, options)
        answer = asked(self.model, f"Cheatsheet:\n{self.memory}\n\nQuestion: {question}\nAnswer:", **options)
        if self.similar is None:
            self._curate(question, [(question, answer)], options)
        self.past.append((question, answer))
        return answer

    def reset(self) -> None:
        """Forgets everything."""
        self.memory, self.past = "", []

    def _curate(self, question: str, pairs: Sequence[tuple[str, str]], options: dict[str, Any]) -> None:
        seen = "".join(f"\nQ: {q}\nA: {a}" for q, a in pairs)
        prompt = f"Cheatsheet:\n{self.memory}\n\nSeen:{seen}\n\nNext: {question}\n\nWrite the new cheatsheet, in short notes."
        self.memory = asked(self.model, prompt, **options)[: self.limit]


def sketch(
    author: TextModel,
    editor: TextModel,
    instruction: str,
    text: str,
    examples: Sequence[tuple[str, str, str]] = (),
    **constrained: Any,
) -> str:
    """A free sketch by a model that cannot be constrained, rewritten by one that can: `constrained` are its options
    (regex=…, schema=…, constraint=…), so the result has the structure for certain. Geng et al. 2024 (arXiv 2401.09967).

    `examples` are (input, sketch, target).
    """
    draft = asked(author, f"{instruction}\n\nInput: {text}\nOutput:")
    shown = "".join(f"Input: {a}\nDraft: {b}\nOutput: {c}\n\n" for a, b, c in examples)
    return asked(editor, f"{instruction}\n\n{shown}Input: {text}\nDraft: {draft}\nOutput:", **constrained)


def terminology(
    translator: TextModel,
    source: str,
    terms: Mapping[str, str],
    *,
    editor: TextModel | None = None,
    rounds: int = 1,
    present: Callable[[str, str], bool] = lambda term, text: term.lower() in text.lower(),
    **options: Any,
) -> str:
    """A translation, edited if terms are missing; an edit is kept only if it has more of them.

    `terms`: source term → required target term; only those whose source term is in the source count. Moslem et al. 2023
    (arXiv 2310.14451).
    """
    require(rounds >= 0, f"rounds={rounds}: a number of edits, 0 for none")
    owed = {a: b for a, b in terms.items() if present(a, source)}
    text = asked(translator, f"Translate:\n{source}\nTranslation:", **options)
    for _ in range(rounds):
        missing = {a: b for a, b in owed.items() if not present(b, text)}
        if not missing:
            break
        pairs = "; ".join(f"{a} = {b}" for a, b in missing.items())
        prompt = f"Source: {source}\nTranslation: {text}\nChange as little as possible so that it uses: {pairs}\nTranslation:"
        edited = asked(editor or translator, prompt, **options)
        if sum(present(b, edited) for b in owed.values()) > sum(present(b, text) for b in owed.values()):
            text = edited
    return text


def edu_plan(
    planner: Callable[[Sequence[str]], Sequence[Sequence[int]]],
    writer: TextModel,
    units: Sequence[str],
    ranker: Callable[[list[str]], Sequence[float]],
    **options: Any,
) -> str:
    """The best of several summaries, one for each different plan: which units of the source, in which order.

    `planner(units)` gives the plans (a beam of index sequences); each is marked in the source and written once; `ranker` scores
    the summaries. Adams et al. 2023 (arXiv 2305.17779).
    """
    plans = list(dict.fromkeys(tuple(plan) for plan in planner(units)))
    require(bool(plans), "the planner gave no plan")
    for plan in plans:
        require(
            all(0 <= i < len(units) for i in plan), f"plan {list(plan)} names a unit that there is not ({len(units)} units)"
        )
    prompts = []
    for plan in plans:
        marked = " ".join(f"<{plan.index(i) + 1}>{u}</{plan.index(i) + 1}>" if i in plan else u for i, u in enumerate(units))
        prompts.append(f"Summarise the marked parts in the order of their numbers:\n{marked}\nSummary:")
    texts = ask_all(writer, prompts, **options)
    scores = list(ranker(texts))
    require(len(scores) == len(texts), f"the ranker gave {len(scores)} scores for {len(texts)} summaries")
    return texts[max(range(len(texts)), key=scores.__getitem__)]
