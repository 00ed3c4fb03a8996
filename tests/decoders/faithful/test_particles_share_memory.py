"""Keys and values of a population: as many slots as its particles have distinct tokens."""

from __future__ import annotations

import toys

import espalier as es
from espalier.decoders import SMC

PROMPT, TOKENS, PARTICLES = 400, 512, 64


def distinct(prefixes) -> int:
    """How many tokens the paths to these prefixes have together."""
    seen: set[int] = set()
    total = 0
    for x in prefixes:
        for node in x.up():
            if id(node) in seen:
                break
            seen.add(id(node))
            total += len(node.tokens)
    return total


def test_slots_are_the_distinct_tokens_of_sixty_four_long_texts():
    model = toys.transformer(eager=False)
    x, told = es.Prefix([t % 23 for t in range(PROMPT)]), []

    def twist(prefixes):
        if len(prefixes[0]) % 64 == 1 and len(prefixes) > 1:  # the new tokens have no keys and values yet
            told.append((model.kv.used, distinct({id(p.parent): p.parent for p in prefixes}.values())))
        return [0.8 * (p.last % 5) for p in prefixes]

    [found] = es.run(SMC(PARTICLES, twist=twist, target="prefix")(model, x, es.stop.budget(TOKENS), es.Rng(0)))
    assert len(found) == PARTICLES
    assert all(len(f.prefix) == PROMPT + TOKENS for f in found)
    ends = [f.prefix.parent for f in found]  # the last tokens are never read
    assert model.kv.used == distinct(ends)
    assert model.kv.used < PROMPT + PARTICLES * TOKENS / 4, "what the survivors of resampling share is kept once"
    assert len(told) >= 7
    assert all(used <= tokens + PARTICLES for used, tokens in told), "those who died leave no slots behind"
