"""genlm-control's samplers on the cases of `bench faithful --peer`: a program for another Python, which has genlm-control.

Reads one JSON object: {"texts": [[token, …], …], "rows": {"1": [p, …]}, "depth", "end", "length", "particles", "runs"};
prints one: {"runs": [{"law": {"1,2": weight}, "calls": …, "positions": …, "dead": …}]}. Imports nothing of Espalier.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from typing import Any


def potentials(case: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The letters' tokens, the model (a table: rows of probabilities for the last tokens) and the check, as genlm-control's."""
    import numpy as np
    from genlm.control import Potential

    end, depth, texts = case["end"], case["depth"], {tuple(text) for text in case["texts"]}
    letters = [bytes([65 + token]) for token in range(end)]
    beginnings = {text[:n] for text in texts for n in range(len(text) + 1)}

    def tokens(context: Any) -> tuple[int, ...]:
        return tuple(letters.index(token) if token in letters else end for token in context)

    class Model(Potential):  # type: ignore[misc]
        calls = positions = 0

        def row(self, context: Any) -> Any:
            written = (0, *tokens(context))
            return np.log(np.array(case["rows"][",".join(map(str, written[len(written) - depth :] if depth else ()))]) + 1e-300)

        def read(self, contexts: Any) -> None:
            self.calls += 1
            self.positions += sum(len(context) + 1 for context in contexts)

        def whole(self, context: Any, ended: bool) -> float:
            written = (*tokens(context), *([end] if ended else []))
            return float(sum(self.row(context[:n])[token] for n, token in enumerate(written)))

        async def prefix(self, context: Any) -> float:
            self.read([context])
            return self.whole(context, False)

        async def complete(self, context: Any) -> float:
            self.read([context])
            return self.whole(context, True)

        async def logw_next(self, context: Any) -> Any:
            self.read([context])
            return self.make_lazy_weights(self.row(context))

        async def batch_prefix(self, contexts: Any) -> Any:
            self.read(contexts)
            return np.array([self.whole(context, False) for context in contexts])

        async def batch_complete(self, contexts: Any) -> Any:
            self.read(contexts)
            return np.array([self.whole(context, True) for context in contexts])

        async def batch_logw_next(self, contexts: Any) -> Any:
            self.read(contexts)
            return [self.make_lazy_weights(self.row(context)) for context in contexts]

    class Check(Potential):  # type: ignore[misc]
        async def prefix(self, context: Any) -> float:
            return 0.0 if tokens(context) in beginnings else -math.inf

        async def complete(self, context: Any) -> float:
            return 0.0 if (*tokens(context), end) in texts else -math.inf

    return tokens, Model(letters), Check(letters)


def main() -> None:
    import numpy as np
    from genlm.control import AWRS, SMC

    case: dict[str, Any] = json.load(sys.stdin)

    async def once(seed: int) -> dict[str, Any]:
        tokens, model, check = potentials(case)
        np.random.seed(seed)
        sampler = AWRS(model, check, seed=seed)
        found = await SMC(sampler)(n_particles=case["particles"], ess_threshold=0.5, max_tokens=case["length"])
        law: dict[str, float] = {}
        for context, weight in zip(found.contexts, found.normalized_weights, strict=True):
            if weight > 0:
                key = ",".join(map(str, tokens(context)))
                law[key] = law.get(key, 0.0) + float(weight)
        await sampler.cleanup()
        return {"law": law, "calls": model.calls, "positions": model.positions, "dead": not law}

    async def every() -> list[dict[str, Any]]:
        return [await once(seed) for seed in range(case["runs"])]

    print(json.dumps({"runs": asyncio.run(every())}))


if __name__ == "__main__":
    main()
