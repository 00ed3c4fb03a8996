"""Contrast of two models: what the expert says more than the amateur does."""

from __future__ import annotations

import math

from espalier.drafting.draft_model.row_cache import Remembered
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.scorer import Scorer
from espalier.shaping.combine.linear import combine
from espalier.shaping.second_stream import SecondStream, twins
from espalier.shaping.temper import temperature as tempered


def contrast(
    expert: Scorer,
    amateur: Scorer,
    lam: float = 1.0,
    alpha: float = 0.1,
    temperature: float = 1.0,
    last: int | None = None,
    beta: float | None = None,
) -> Scorer:
    """log p_e - lam · log p_a on the tokens with p_e ≥ alpha · max p_e; both models are asked in one turn.

    `temperature` is the amateur's; with `last` it sees only so many of the prompt's last tokens (and all that is written).
    An amateur equal to the expert leaves the plausible tokens alike, lam = 0 the expert cut to them, alpha = 1 its most
    probable token. `beta=` is the other form, (1 + β) log p_e - β log p_a, which an equal amateur leaves as the expert.
    As a target law it is speculated like any other; with `DraftModel(amateur)` that is speculative contrastive decoding, and
    the amateur's rows are taken from drafting. Li et al. 2022, "Contrastive decoding" (arXiv 2210.15097); O'Brien, Lewis 2023
    (arXiv 2309.09117); Yuan et al. 2023, "Speculative contrastive decoding" (arXiv 2311.08981).

    >>> import espalier as es
    >>> expert, amateur = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (2, 1))
    >>> target, stop = contrast(expert, amateur, beta=0.5), es.stop.budget(4)
    >>> drafter, verify = es.drafting.DraftModel(amateur, tokens=2), es.verification.Rejection()
    >>> [x] = es.run(es.speculate(target, es.Prefix([0]), stop, drafter, verify, es.Rng(0)))
    >>> len(x.written())
    4
    """
    require(0 <= lam < math.inf, f"lam={lam}: the weight of the amateur cannot be negative; 0 is the expert alone")
    require(beta is None or 0 <= beta < math.inf, f"beta={beta}: the weight of the contrast cannot be negative")
    require(beta is None or lam == 1.0, f"lam={lam} and beta={beta} are weights of two forms; give one of them")
    require(0 <= alpha <= 1, f"alpha={alpha}: it is a fraction of the best token's probability, between 0 and 1")
    require(0 < temperature < math.inf, f"temperature={temperature}: the amateur's temperature is above 0; 0.5 to 1 are usual")
    require(last is None or last >= 1, f"last={last}: the amateur must see at least one token of the prompt")
    if last is not None:
        amateur = SecondStream(amateur, twins(lambda root: Prefix(root.tail(last))))
    amateur = Remembered.of(amateur)
    amateur = amateur if temperature == 1 else amateur | tempered(temperature)
    weights = (1.0, -lam) if beta is None else (1 + beta, -beta)
    return combine([expert, amateur], weights, head=(0, alpha))
