"""The trace of a run: what was asked, what was kept."""

from __future__ import annotations

import gc
import weakref

from rich.console import Console
from toys import speaks

import espalier as es
from espalier.cli.trace import _draft, summary, table
from espalier.trace import Conversation, branches
from espalier.verification import SampleMatch


class Fork(es.drafting.Drafter):
    """Two branches: one that the target says, one that it does not."""

    def __init__(self, right, wrong) -> None:  # type: ignore[no-untyped-def]
        self.right, self.wrong = right, wrong

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        yield from ()
        draft = es.drafting.Draft(x)
        written = len(x) - len(x.origin)
        draft.extend(0, self.right[written : written + 3])
        draft.extend(0, self.wrong)
        return draft


def conversation():  # type: ignore[no-untyped-def]
    lm, said = speaks(["ab: hello world"]), Conversation()
    right = lm.tokenizer.encode(" hello world")
    fork = Fork(right, lm.tokenizer.encode("xy"))
    [out] = lm.complete_all([es.raw("ab:")], trace=said, max_tokens=8, drafter=fork, verifier=SampleMatch(), temperature=0)
    return lm, said, out


def test_a_trace_tells_what_was_kept_of_each_draft():
    lm, said, out = conversation()
    assert [token for turn in said.passes for token in turn.kept] == list(out.tokens)
    assert all(turn.model is lm.model for turn in said.passes)
    assert [turn.nodes for turn in said.passes] == [6] * len(said.passes)
    first = branches(said.passes[0].questions[0])
    assert [[node.kept for node in path] for path in first] == [[True] * 3, [False] * 2]
    assert lm.vocab.join([t for node in first[0] for t in node.tokens]) == b" he"
    assert out.text == " hello w"
    assert len(said.passes) == out.stats.passes


def test_a_trace_holds_no_prefix_of_an_older_pass():
    said, seen = Conversation(), []
    model = es.models.Table.random(4, 2, 0)

    def trace(event, what):  # type: ignore[no-untyped-def]
        said(event, what)
        if event == "pass":
            seen.append(weakref.ref(what[1][0].prefixes[-1]))

    class Wrong(es.drafting.Drafter):
        def propose(self, x, rng):  # type: ignore[no-untyped-def]
            yield from ()
            draft = es.drafting.Draft(x)
            draft.extend(0, [0, 0, 0])
            return draft

    stop = es.stop.budget(9)
    [x] = es.run(es.speculate(model, es.Prefix([1]), stop, Wrong(), SampleMatch(), es.Rng(0)), trace=trace)
    gc.collect()
    text = x.path()
    assert len(seen) > 3
    assert all(ref() is None or ref() in text for ref in seen[:-1])


def test_the_table_shows_branches_and_counts():
    lm, said, _ = conversation()
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(lm, said))
    shown = console.export_text()
    assert " he" in shown
    assert "target" in shown
    assert _draft(lm, said.passes[0]).plain == " he\nxy"
    assert summary(lm, said) == f"8 tokens in {len(said.passes)} passes: {8 / len(said.passes):.2f} tokens per pass"
