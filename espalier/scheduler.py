"""The scheduler: which of the questions that wait go into a turn, and how many rows of each."""

from __future__ import annotations

from dataclasses import dataclass

from espalier.errors import require


@dataclass(frozen=True)
class Scheduler:
    """What goes into a turn of the loop: at most `rows` rows per model, texts that are being written before prompts.

    A prompt fills what rows are left, piece by piece, where the model reads in pieces (`Capabilities.chunked`); a draft that
    is larger than the budget is answered over several turns. Without `rows` nothing is cut but a prompt that joins running
    texts. A question waits while a text that will need the same pass still asks other models (its draft is being written),
    for `wait` turns at most: how patient a model is comes from what the texts asked in the round before. A text waits while the
    model's keys and values have no room for it beside older ones, so that texts do not drive each other out.

    Guarantee: texts are those of any other schedule; texts that draft for one model in one loop make no more passes of it
    than the longest of them has tokens, drafts of at most `wait` passes and an unset or sufficient budget provided. A model
    that cannot read in pieces reads a prompt at once. Raises InvalidInput for a budget below one row. Agrawal et al. 2024,
    "Sarathi-Serve" (arXiv 2403.02310).

    >>> import espalier as es
    >>> model, loop = es.models.Table.random(vocab_size=4, depth=3, seed=0), es.Loop(scheduler=Scheduler(rows=2))
    >>> numbers = [loop.add(es.sample(model, es.Prefix([i]), es.stop.budget(4), es.Rng(i))) for i in range(3)]
    >>> while loop:
    ...     loop.turn()
    >>> loop.passes  # the third begins when two have ended
    8
    """

    rows: int | None = None
    wait: int = 64

    def __post_init__(self) -> None:
        require(self.rows is None or self.rows >= 1, f"rows={self.rows}: a turn needs a row at least; None sets no budget")
        require(self.wait >= 0, f"wait={self.wait}: a number of turns, 0 for none")
