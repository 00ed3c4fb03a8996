"""Stochastic beams, best-first search and lattices against their definitions."""

from __future__ import annotations

import itertools
import math
import re

import pytest

import espalier as es
from decoders.beams.brute import X, stop, texts
from espalier.decoders import BestFirst, Lattice, StochasticBeam
from espalier.errors import InvalidInput, LimitExceeded

LENGTH = 3


def table(seed: int, size: int = 4) -> es.models.Table:
    return es.models.Table.random(size, 2, seed=seed)


def found_by(decoder, scorer, seed: int = 0, length: int = LENGTH):
    [found] = es.run(decoder(scorer, X, stop(length), es.Rng(seed)))
    return found


def written(found):
    return [tuple(f.prefix.written()) for f in found]


class TestStochasticBeam:
    SMALL = table(5, 3)
    LAW = {text: math.exp(logp) for text, logp in texts(SMALL, 2).items()}  # noqa: RUF012

    def runs(self, k, n, decoder=StochasticBeam):
        return [found_by(decoder(k), self.SMALL, seed, 2) for seed in range(n)]

    def in_sequence(self):
        """P(first, second) of two draws in sequence without replacement."""
        return {(a, b): self.LAW[a] * self.LAW[b] / (1 - self.LAW[a]) for a, b in itertools.permutations(self.LAW, 2)}

    def chi(self, runs):
        expected = self.in_sequence()
        counts = dict.fromkeys(expected, 0)
        for found in runs:
            counts[tuple(written(found))] += 1
        n = len(runs)
        return sum((counts[pair] - n * p) ** 2 / (n * p) for pair, p in expected.items()), len(expected) - 1

    def test_two_texts_have_the_law_of_draws_without_replacement(self):
        chi, freedom = self.chi(self.runs(2, 1500))
        assert chi < freedom + 4 * math.sqrt(2 * freedom)

    def test_the_estimate_is_unbiased(self):
        value = {text: 1.0 + 3 * (i % 3) for i, text in enumerate(sorted(self.LAW))}
        truth = sum(p * value[text] for text, p in self.LAW.items())
        estimates = [found.estimate(lambda x: value[tuple(x.written())]) for found in self.runs(3, 1200)]
        mean = sum(estimates) / len(estimates)
        error = math.sqrt(sum((e - mean) ** 2 for e in estimates)) / len(estimates)
        assert abs(mean - truth) < 4 * error
        assert error < 0.1 * truth
        normalised = [found.estimate(lambda x: 1.0, normalised=True) for found in self.runs(3, 3)]
        assert normalised == pytest.approx([1.0] * 3)

    def test_inclusion_probabilities(self):
        runs = self.runs(2, 1500)
        for text in sorted(self.LAW, key=self.LAW.__getitem__)[-3:]:
            true = sum(p for pair, p in self.in_sequence().items() if text in pair)
            seen = sum(text in written(found) for found in runs) / len(runs)
            assert abs(seen - true) < 4 * math.sqrt(true * (1 - true) / len(runs))

    def test_all_texts_are_found_with_weight_p(self):
        found = found_by(StochasticBeam(99), self.SMALL, 0, 2)
        assert {tuple(f.prefix.written()): math.exp(f.log_weight) for f in found} == pytest.approx(self.LAW)

    def test_ranking_by_probability_is_caught(self, monkeypatch):
        import espalier.decoders.beams.stochastic as module

        def by_probability(h, row, k, rng):
            return [module.Perturbed(h.prefix + t, h.logp + p, h.logp + p) for t, p in row.top(k)]

        monkeypatch.setattr(module, "children", by_probability)
        chi, freedom = self.chi(self.runs(2, 300))
        assert chi > freedom + 20 * math.sqrt(2 * freedom)


def vanilla(model, k, length):
    """A beam in which finished texts keep their places; how many rows it computes."""
    beam, rows, ends = [((), 0.0)], 0, stop(length)
    grown = True
    while grown:
        grown, next_beam = False, []
        for text, logp in beam:
            if (text and ends(X + list(text)) is not None) or (text and text[-1] == 2):
                next_beam.append((text, logp))
                continue
            rows, grown = rows + 1, True
            context = [*X.ids(), *text]
            row = model.row(tuple(context[-model.depth :])).log_softmax(-1)
            next_beam += [((*text, t), logp + p) for t, p in enumerate(row.tolist())]
        beam = sorted(next_beam, key=lambda h: -h[1])[:k]
    return [text for text, _ in beam], rows


class TestBestFirst:
    @pytest.mark.parametrize("k", [1, 2, 3, 5])
    def test_it_finds_what_a_beam_finds_with_fewer_rows(self, k):
        saved = 0
        for seed in range(150):
            model = table(seed)
            expected, rows = vanilla(model, k, 5)
            model.passes = 0
            found = found_by(BestFirst(k), model, length=5)
            assert set(written(found)) == set(expected)
            assert model.passes <= rows
            saved += rows - model.passes
            assert [f.log_weight for f in found] == sorted((f.log_weight for f in found), reverse=True)
        assert saved > 0 or k == 1

    def test_with_room_for_all_it_finds_the_best_of_all(self):
        for seed in range(10):
            model = table(seed)
            true = texts(model, LENGTH)
            found = found_by(BestFirst(4**LENGTH), model)
            assert written(found) == sorted(true, key=lambda text: -true[text])
            assert [f.log_weight for f in found[:5]] == pytest.approx(sorted(true.values(), reverse=True)[:5])

    def test_memory_bounds_what_waits(self):
        found = found_by(BestFirst(3, memory=3), table(0), length=6)
        assert 1 <= len(found) <= 3
        with pytest.raises(InvalidInput, match="at least k=3"):
            BestFirst(3, memory=2)
        with pytest.raises(InvalidInput):
            BestFirst(0)


class TestLattice:
    def test_without_merges_it_holds_texts_with_their_own_scores(self):
        model = table(1)
        true = texts(model, 4)
        found = found_by(Lattice(80, ngram=9), model, length=4)
        assert found.merges == 0
        for f in found.paths(500):
            assert f.log_weight == pytest.approx(true[tuple(f.prefix.written())])
        scores = [f.log_weight for f in found.paths(500)]
        assert scores == sorted(scores, reverse=True)

    def test_merged_scores_are_exact_where_the_model_looks_no_further(self):
        merged = 0
        for seed in range(10):
            model = table(seed)
            true = texts(model, 6)
            found = found_by(Lattice(60, ngram=2), model, length=6)
            merged += found.merges
            paths = found.paths(3000)
            assert len(set(written(paths))) == len(paths)
            for f in paths:
                text = tuple(f.prefix.written())
                if text in true:
                    assert f.log_weight == pytest.approx(true[text])
        assert merged > 20

    def test_the_graph_has_no_circle_and_more_texts_than_rows(self):
        found = found_by(Lattice(120, ngram=2), table(3), length=9)
        assert len(found.paths(2000)) > 120
        edges = re.findall(r"n(\d+) -> n(\d+)", found.dot())
        assert edges
        assert all(int(a) < int(b) for a, b in edges), "numbered parents first, so no edge leads back"

    def test_the_budget_is_obeyed(self):
        for budget in (3, 10, 31):
            model = table(0)
            model.passes = 0
            es.run(Lattice(budget)(model, X, es.stop.budget(3), es.Rng(0)))
            assert model.passes <= budget
        with pytest.raises(LimitExceeded, match="ended before any text"):
            es.run(Lattice(1)(table(0), X, es.stop.budget(3), es.Rng(0)))
        with pytest.raises(InvalidInput):
            Lattice(0)
