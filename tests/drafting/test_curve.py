"""The cost of a pass: interpolation, measurement against a model of known cost, the cache."""

from __future__ import annotations

import time

import pytest

import espalier as es
from espalier.drafting.draft_model.vocab_trim import trimmed
from espalier.drafting.pass_cost import PassCurve, _key, measure, pass_curve
from espalier.models.families import Config
from espalier.models.transformer import Transformer


class Slow(es.models.Table):
    """A table that takes 2 ms per pass and 1 ms per node, on a clock of its own."""

    clock = 0.0

    def forward(self, prefixes, want):  # type: ignore[no-untyped-def]
        Slow.clock += 0.002 + 0.001 * len(prefixes)
        return super().forward(prefixes, want)


def slow():  # type: ignore[no-untyped-def]
    table = es.models.Table.random(vocab_size=4, depth=1, seed=0)
    return Slow(4, 1, table._row)


def test_the_measured_curve_is_the_cost_of_the_model(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: Slow.clock)
    found = measure(slow(), sizes=(1, 8, 16), repeats=5)
    assert [found(n) for n in (1, 8, 12, 16)] == pytest.approx([3, 10, 14, 18])
    assert found.ratio(16) == pytest.approx(6)


def test_between_and_beyond_the_curve_is_linear():
    line = PassCurve((2, 4, 8), (10.0, 14.0, 30.0))
    assert [line(n) for n in (1, 2, 3, 6, 10)] == [8.0, 10.0, 12.0, 22.0, 38.0]
    with pytest.raises(es.InvalidInput, match="increasing"):
        PassCurve((4, 2), (1.0, 2.0))


def test_a_model_is_measured_once_per_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    model = slow()
    first = pass_curve(model, "slow")
    passes = model.passes
    assert passes > 0
    assert pass_curve(model, "slow") == first
    assert model.passes == passes
    [file] = (tmp_path / "curves").iterdir()
    file.write_text("{")
    pass_curve(model, "slow")
    assert model.passes == 2 * passes
    pass_curve(model, "another")
    assert model.passes == 3 * passes


def test_models_that_cost_something_else_have_curves_of_their_own(tmp_path, monkeypatch):
    """Another size, type of numbers, executor, number of layers or of bits: no two of them share what was measured."""
    transformers = pytest.importorskip("transformers")
    native = pytest.importorskip("espalier.models.executors.native")
    if not native.available():
        pytest.skip("the native kernels are not built")
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    sizes = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 3}

    def of(dtype, ff=32, eager=False):  # type: ignore[no-untyped-def]
        config = transformers.LlamaConfig(**sizes, intermediate_size=ff, tie_word_embeddings=True)
        peer = transformers.AutoModelForCausalLM.from_config(config)
        return Transformer.from_weights(Config.from_hf(config.to_dict()), peer.state_dict(), dtype, eager=eager)

    whole = of("float32")
    models = [whole, of("bfloat16"), of("int8"), of("float32", ff=64), of("float32", eager=True), whole.partial([0, 2])]
    models += [whole.quantised(4), trimmed(whole, range(9)), trimmed(whole, range(8))]
    assert len({_key(model, None) for model in models}) == len(models)
    assert _key(of("bfloat16").quantised(), None) == _key(of("int8"), None)  # the same work
    assert pass_curve(whole)(8) > 0
    assert len(list((tmp_path / "curves").iterdir())) == 1
