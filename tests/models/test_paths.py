"""Models without tree passes: one row per path, and everything that works on trees works on them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.errors import ContextOverflow, InvalidInput
from espalier.models.executors.transformers import from_transformers
from espalier.models.load.open import load
from espalier.prefix import Prefix
from espalier.testing import check_scorer

V = 7
TABLE = es.models.Table.random(V, 3, seed=5)


class Told:
    """The table as a function of whole texts, which notes the shapes that it was asked for."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, ids: Tensor) -> Tensor:
        self.shapes.append(tuple(ids.shape))
        rows = [[TABLE.row(tuple(text[max(0, n - 2) : n + 1])) for n in range(len(text))] for text in ids.tolist()]
        return torch.stack([torch.stack(row) for row in rows])


def test_every_path_is_one_row_and_what_lies_on_it_is_read_there() -> None:
    told = Told()
    model, x = es.models.Paths(told, V), Prefix([1, 2, 3])
    a, b = x + 4, x + 5
    asked = [x, a, b, a + 6, Prefix([2])]
    rows = model.forward(asked, frozenset())
    assert told.shapes == [(3, 5)]  # to the leaves a + 6, b and the other text
    assert torch.equal(rows.logits, TABLE.forward(asked, frozenset()).logits)
    check_scorer(model, asked)


@pytest.mark.parametrize(
    ("drafter", "rule"),
    [
        (lambda: d.PromptLookup(), v.SampleMatch()),
        (lambda: d.TokenRecycling(nodes=8), v.SampleMatch()),
        (lambda: d.DraftModel(TABLE | es.temperature(1.1), tree=d.KConfig((2, 2))), v.Recursive()),
    ],
)
def test_drafts_give_the_law_and_for_matching_the_tokens_of_plain_decoding(drafter: Any, rule: v.Verifier) -> None:
    stop, told = es.stop.budget(12), Told()
    scorer = es.models.Paths(told, V) | es.frequency(0.5) | es.temperature(0 if isinstance(rule, v.Recursive) else 0.8)
    prompts = [Prefix([1, 2, 1, 2]), Prefix([3])]
    plain = [es.run(es.sample(scorer, x, stop, es.Rng(i)))[0].ids() for i, x in enumerate(prompts)]
    told.shapes.clear()
    texts = es.run(*(es.speculate(scorer, x, stop, drafter(), rule, es.Rng(i)) for i, x in enumerate(prompts)))
    assert [y.ids() for y in texts] == plain
    assert max(rows for rows, _ in told.shapes) > 2 or isinstance(drafter(), d.PromptLookup)  # two texts, and trees below them


def test_what_cannot_be_asked_is_refused() -> None:
    model = es.models.Paths(Told(), V, context=4)
    with pytest.raises(InvalidInput, match="logits only"):
        model.forward([Prefix([1])], frozenset({"hidden"}))
    with pytest.raises(ContextOverflow, match="between 1 and 4"):
        model.forward([Prefix([1] * 5)], frozenset())
    with pytest.raises(InvalidInput, match="0 tokens"):
        model.forward([Prefix()], frozenset())
    with pytest.raises(InvalidInput, match="not all among"):
        model.forward([Prefix([V])], frozenset())
    with pytest.raises(InvalidInput, match=r"give \[B, T, 7\]"):
        es.models.Paths(lambda ids: torch.zeros(len(ids), V), V).forward([Prefix([1])], frozenset())


def recurrent() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MambaConfig(vocab_size=64, hidden_size=32, state_size=4, num_hidden_layers=2, time_step_rank=4)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def test_a_recurrent_model_writes_the_same_text_with_drafts() -> None:
    model = recurrent()
    with pytest.raises(es.EspalierError):
        from_transformers(model)  # its state cannot follow a tree
    paths = es.models.Paths.of(model)
    ids = [5, 9, 5, 9, 5]
    expected = model.generate(torch.tensor([ids]), max_new_tokens=12, min_new_tokens=12, do_sample=False)[0].tolist()
    greedy, stop = paths | es.temperature(0), es.stop.budget(12)
    [plain] = es.run(es.sample(greedy, Prefix(ids), stop, es.Rng(0)))
    assert plain.ids() == expected
    for drafter in (d.PromptLookup(), d.TokenRecycling(nodes=8), d.Jacobi(3)):
        [drafted] = es.run(es.speculate(greedy, Prefix(ids), stop, drafter, v.SampleMatch(), es.Rng(0)))
        assert drafted.ids() == expected


def test_a_recurrent_model_is_loaded_from_its_folder(tmp_path: Any) -> None:
    from toys import tokenizer

    model, tok = recurrent(), tokenizer()
    model.resize_token_embeddings(tok.vocab.size)
    model.save_pretrained(tmp_path)
    tok._backend.save(str(tmp_path / "tokenizer.json"))
    lm = load(tmp_path)
    assert isinstance(lm.model, es.models.Paths)
    plain = lm.complete(es.raw("abab"), max_tokens=8, drafter=None)
    assert lm.complete(es.raw("abab"), max_tokens=8, drafter="lookup").tokens == plain.tokens
