"""Every shaper and shaped scorer by name, each with a small example that works on any scorer with a vocabulary."""

from __future__ import annotations

from collections.abc import Callable

from espalier.rng import Rng
from espalier.scorer import Scorer
from espalier.shaper import Shaper
from espalier.shaping import ending, penalize, temper, truncate
from espalier.shaping.bias import ban, bias, sequence_bias
from espalier.shaping.mirostat import mirostat
from espalier.shaping.repeats.contrastive import contrastive_search
from espalier.shaping.repeats.dry import dry
from espalier.shaping.repeats.fsd import fsd
from espalier.shaping.repeats.look_back import look_back
from espalier.shaping.repeats.momentum import momentum
from espalier.shaping.repeats.no_repeat import no_repeat
from espalier.shaping.watermark import watermark
from espalier.shaping.xtc import xtc

Example = Callable[[], Shaper] | Callable[[Scorer], Scorer]

SHAPERS: dict[str, Callable[[], Shaper]] = {
    "ban": lambda: ban("bb"),
    "bias": lambda: bias({0: 1.5, 1: -0.5}),
    "dry": lambda: dry(0.8, 1.5, allowed=1, breakers=(1,)),
    "dynamic_temperature": lambda: temper.dynamic_temperature(0.5, 1.5, 1.2),
    "end_decay": lambda: ending.end_decay(1, 1.3),
    "epsilon": lambda: truncate.epsilon(0.1),
    "eta": lambda: truncate.eta(0.1),
    "frequency": lambda: penalize.frequency(0.8),
    "min_p": lambda: truncate.min_p(0.3),
    "mirostat": lambda: mirostat(1.0, 0.4),
    "momentum": lambda: momentum(3, 0.2, (0, 1, 2)),
    "no_repeat": lambda: no_repeat(2),
    "penalty": lambda: penalize.penalty(1.5, window=2, length_weight=0.5, length=3),
    "presence": lambda: penalize.presence(0.9),
    "repetition": lambda: penalize.repetition(1.7),
    "self_terminating": lambda: ending.self_terminating(0.1, relative=True),
    "sequence_bias": lambda: sequence_bias({"ab": 1.0, (0, 0): -1.0}),
    "temperature": lambda: temper.temperature(0.6),
    "top_h": lambda: truncate.top_h(0.7),
    "top_k": lambda: truncate.top_k(2),
    "top_n_sigma": lambda: truncate.top_n_sigma(0.8),
    "top_p": lambda: truncate.top_p(0.7),
    "typical": lambda: truncate.typical(0.6),
    "watermark": lambda: watermark(key=3, gamma=0.4, delta=1.5),
    "xtc": lambda: xtc(0.2, 0.5, Rng(1)),
}
SCORERS: dict[str, Callable[[Scorer], Scorer]] = {
    "contrastive_search": lambda scorer: contrastive_search(scorer, 3, 0.5),
    "fsd": lambda scorer: fsd(scorer, 3, 0.45),
    "fsd by hidden states": lambda scorer: fsd(scorer, 3, 0.45, n=2, vector=True),
    "look_back": lambda scorer: look_back(scorer, 0.3, 2, window=3),
}
CATALOGUE: dict[str, Example] = {**SHAPERS, **SCORERS}
