"""Beam search against enumeration, and against the published implementation."""

from __future__ import annotations

import math

import pytest
import torch
import toys
from models.folders import folder

import espalier as es
from decoders.beams.brute import END, X, stop, texts
from espalier.decoders import Beam
from espalier.decoders.beams.hypothesis import UID, Surprisals, normaliser
from espalier.errors import InvalidInput
from espalier.rows import Rows

SEEDS = range(6)
LENGTH = 4


def table(seed: int, size: int = 4) -> es.models.Table:
    return es.models.Table.random(size, 2, seed=seed)


def searched(beam: Beam, scorer, seed: int = 0, length: int = LENGTH):
    [found] = es.run(beam(scorer, X, stop(length), es.Rng(seed)))
    return [(tuple(f.prefix.written()), f.log_weight) for f in found]


@pytest.mark.parametrize("norm", ["gnmt", ("gnmt", 0.2), "mean", 0.0, 0.5, -0.3])
@pytest.mark.parametrize("rule", ["bound", "never"])
def test_at_full_width_the_best_are_the_best_of_all(norm, rule):
    for seed in SEEDS:
        model = table(seed)
        scores = {text: logp / normaliser(norm)(len(text)) for text, logp in texts(model, LENGTH).items()}
        best = sorted(scores.items(), key=lambda item: -item[1])[:5]
        found = searched(Beam(4**LENGTH, norm=norm, stop=rule), model)[:5]
        assert [text for text, _ in found] == [text for text, _ in best]
        assert [score for _, score in found] == pytest.approx([score for _, score in best])


@pytest.mark.parametrize("norm", ["gnmt", "mean", 0.0])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_stopping_at_the_bound_gives_what_never_stopping_gives(norm, width):
    for seed in range(20):
        model = table(seed)
        assert searched(Beam(width, norm=norm), model, length=7) == searched(
            Beam(width, norm=norm, stop="never"), model, length=7
        )


def test_first_come_first_served_stops_at_width_times_patience():
    grew = 0
    for seed in range(20):
        model, counts = table(seed), []
        for patience in (0.5, 1, 2):
            model.passes = 0
            found = searched(Beam(2, norm="mean", stop="fcfs", patience=patience), model, length=9)
            counts.append(model.passes)
            assert len(found) <= 2
        assert counts == sorted(counts)
        grew += counts[0] < counts[2]
    assert grew >= 10, "patience counts finished texts, also those that are not among the best"


def passes_until(model, width, patience, length):
    """On lists: how many steps it takes until width · patience texts are finished, wherever they rank by then."""
    live, finished, steps = [((), 0.0)], 0, 0
    while live and finished < width * patience and steps < length:
        steps += 1
        grown = []
        for text, logp in live:
            row = model.row((*X.ids(), *text)[-model.depth :]).log_softmax(-1)
            grown += [((*text, t), logp + float(p)) for t, p in enumerate(row)]
        grown.sort(key=lambda pair: -pair[1])
        finished += sum(text[-1] == END for text, _ in grown[:width])
        live = [pair for pair in grown if pair[0][-1] != END][:width]
    return steps


class CountsInside(Beam):
    """Wrong: patience counts only the finished texts that are still among the `width` best."""

    def _counts(self):
        return False


def test_patience_counts_every_finished_text():
    caught = 0
    for seed in range(20):
        model = table(seed)
        for patience in (1, 2, 3):
            expected = passes_until(model, 2, patience, 12)
            model.passes = 0
            searched(Beam(2, norm=0.0, stop="fcfs", patience=patience), model, length=12)
            assert model.passes == expected
            model.passes = 0
            searched(CountsInside(2, norm=0.0, stop="fcfs", patience=patience), model, length=12)
            caught += model.passes != expected
    assert caught >= 10


@pytest.mark.parametrize("kind", UID)
def test_uid_at_full_width_is_the_best_of_its_objective(kind):
    model = table(3)
    scores = {}
    for text, logp in texts(model, LENGTH).items():
        sums, context = Surprisals(), X.ids()
        for token in text:
            row = model.row(tuple(context[-2:])).log_softmax(-1)
            sums = sums.after(-float(row[token]), -float(row.max()))
            context = [*context, token]
        scores[text] = logp - 0.7 * UID[kind](sums)
    best = max(scores, key=scores.__getitem__)
    found = searched(Beam(4**LENGTH, norm=0.0, uid=(kind, 0.7)), model)
    assert found[0][0] == best
    assert found[0][1] == pytest.approx(scores[best])


def test_uid_moments_are_those_of_their_definitions():
    u, least = [0.5, 2.0, 0.1, 1.4], [0.5, 0.3, 0.1, 0.9]
    sums = Surprisals()
    for a, b in zip(u, least, strict=True):
        sums = sums.after(a, b)
    mean = sum(u) / 4
    assert UID["variance"](sums) == pytest.approx(sum((a - mean) ** 2 for a in u) / 4)
    assert UID["local"](sums) == pytest.approx(sum((a - b) ** 2 for a, b in zip(u[1:], u[:-1], strict=True)) / 4)
    assert UID["max"](sums) == 2.0
    assert UID["greedy"](sums) == pytest.approx(sum((a - b) ** 2 for a, b in zip(u, least, strict=True)))


def test_a_strong_greedy_regulariser_is_greedy_search():
    for seed in SEEDS:
        model = table(seed)
        [x] = es.run(es.sample(model | es.temperature(0), X, stop(LENGTH), es.Rng(0)))
        assert searched(Beam(4**LENGTH, norm=0.0, uid=("greedy", 1e6)), model)[0][0] == tuple(x.written())


def test_groups_differ_and_one_group_is_a_beam():
    for seed in SEEDS:
        model = table(seed)
        assert searched(Beam(4, groups=1, diversity=9.0, norm=0.0, stop="never"), model) == searched(
            Beam(4, norm=0.0, stop="never"), model
        )
        apart = Beam(4, groups=4, diversity=1e6, norm=0.0)
        [found] = es.run(apart(model, X, es.stop.budget(3), es.Rng(0)))
        assert len({f.prefix.written()[0] for f in found}) == 4, "each group begins with another token"
        true = texts(model, LENGTH)
        for text, score in searched(Beam(4, groups=2, diversity=0.5, norm=0.0), model):
            assert score == pytest.approx(true[text]), "the penalty is not part of the score"


def test_a_score_of_ones_own_ranks():
    model = table(1)
    worst = min(texts(model, LENGTH).items(), key=lambda item: item[1])
    found = searched(Beam(4**LENGTH, score=lambda hs: [-h.logp for h in hs]), model)
    assert found[0] == (worst[0], pytest.approx(-worst[1]))
    value = {text: hash(text) % 97 / 97 for text in texts(model, LENGTH)}

    def mixed(c):
        return lambda hs: [(1 - c) * h.logp / h.length + c * value.get(tuple(h.prefix.written()), 0.0) for h in hs]

    assert [t for t, _ in searched(Beam(3, score=mixed(0.0), stop="never"), model)] == [
        t for t, _ in searched(Beam(3, norm="mean", stop="never"), model)
    ]
    best = max(value, key=value.__getitem__)
    assert searched(Beam(4**LENGTH, score=mixed(1.0)), model)[0][0] == best


def test_drawn_candidates_are_without_replacement_and_full_width_finds_all():
    model = table(2)
    top = searched(Beam(4**LENGTH, norm=0.0), model)[:5]
    assert searched(Beam(4**LENGTH, norm=0.0, propose="sample"), model)[:5] == [(t, pytest.approx(s)) for t, s in top]
    drawn = {searched(Beam(1, score=lambda hs: [0.0] * len(hs), propose="sample"), model, seed=seed)[0][0] for seed in range(9)}
    assert len(drawn) > 3


class Attentive(es.models.Table):
    """Attends to the place of the prompt that its last token names."""

    @property
    def capabilities(self):
        return es.Capabilities(frozenset({es.Extra.ATTENTION}))

    def forward(self, prefixes, want):
        rows = super().forward(prefixes, want)
        places = torch.tensor([[0.8 if x.last == i else 0.1 for i in range(2)] for x in prefixes])
        return Rows(rows.logits, prefixes, {"attention": places})


def test_coverage_prefers_texts_that_attended_to_the_whole_prompt():
    model = Attentive(3, 0, lambda context: torch.tensor([0.0, -0.2, -0.5]))

    def covered(text):
        logp, seen = 0.0, [0.0, 0.0]
        context = [0, *text[:-1]]
        for token, last in zip(text, context, strict=True):
            logp += float(model.row(()).log_softmax(-1)[token])
            seen = [s + (0.8 if last == i else 0.1) for i, s in enumerate(seen)]
        return logp + 2.0 * sum(math.log(min(s, 1.0)) for s in seen)

    scores = {text: covered(text) for text in texts(model, 3)}
    found = searched(Beam(3**3, norm=0.0, coverage=2.0), model, length=3)
    assert scores[found[0][0]] == pytest.approx(max(scores.values()))
    assert [score for _, score in found] == pytest.approx(sorted(scores.values(), reverse=True))
    with pytest.raises(InvalidInput, match="attention"):
        searched(Beam(2, coverage=0.2), es.models.Table(3, 0, lambda context: torch.zeros(3)) | es.top_k(2), length=3)


def test_a_beam_under_a_schema_is_always_valid():
    lm = toys.random_lm(0)
    guide = es.json_schema(
        {
            "type": "object",
            "properties": {"a": {"enum": [1, "b"]}, "c": {"type": "boolean"}},
            "required": ["a"],
            "additionalProperties": False,
        },
        whitespace="compact",
    )
    x = lm.prompt(es.raw("x"))
    for width in (1, 3):
        [found] = es.run(Beam(width)(lm.scorer * guide, x, es.stop.end(lm.vocab.end) | es.stop.budget(40), es.Rng(0)))
        for f in found:
            assert guide.matches(lm.vocab.join(f.prefix.written())), lm.vocab.join(f.prefix.written())


@pytest.fixture
def one_thread():
    """Small tensors: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def cut(tokens, ends):
    """Up to the first end: what follows is padding."""
    return tokens[: next((i + 1 for i, t in enumerate(tokens) if t in ends), len(tokens))]


@pytest.mark.parametrize(("ours", "theirs"), [("fcfs", True), ("bound", "never")])
def test_beam_4_is_that_of_transformers(ours, theirs, one_thread):
    transformers = pytest.importorskip("transformers")
    place = folder("Llama")
    lm, reference = es.load(str(place), dtype="float32"), transformers.AutoModelForCausalLM.from_pretrained(place)
    ends = list(range(97, 105))
    for seed in range(20):
        prompt = [65 + (7 * seed + 3 * i) % 26 for i in range(5 + seed % 3)]
        halt = es.stop.end(ends) | es.stop.budget(12)
        [found] = es.run(Beam(4, norm="mean", stop=ours)(lm.scorer, es.Prefix(prompt), halt, es.Rng(0)))
        out = reference.generate(
            torch.tensor([prompt]),
            num_beams=4,
            num_return_sequences=4,
            max_new_tokens=12,
            do_sample=False,
            early_stopping=theirs,
            length_penalty=1.0,
            eos_token_id=ends,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        expected = [cut(s.tolist()[len(prompt) :], ends) for s in out.sequences]
        assert [f.prefix.written() for f in found] == expected, f"prompt {seed}"
        assert [f.log_weight for f in found] == pytest.approx(out.sequences_scores.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 2, "norm": "best"},
        {"width": 2, "stop": "later"},
        {"width": 2, "patience": 2},
        {"width": 3, "groups": 2},
        {"width": 2, "uid": ("odd", 1)},
        {"width": 2, "propose": "guess"},
        {"width": 2, "score": len, "coverage": 0.2},
    ],
    ids=str,
)
def test_bad_settings(wrong):
    with pytest.raises(InvalidInput):
        Beam(**wrong)


def test_bad_scores():
    def raises(hypotheses):
        raise RuntimeError("the scorer broke")

    with pytest.raises(InvalidInput, match="score gave 1 numbers for"):
        searched(Beam(2, score=lambda hs: [0.0]), table(0))
    with pytest.raises(InvalidInput, match="nan"):
        searched(Beam(2, score=lambda hs: [math.nan] * len(hs)), table(0))
    with pytest.raises(RuntimeError, match="the scorer broke"):
        searched(Beam(2, score=raises), table(0))
    assert END == 2
