"""Faithful sampling: draws from p(text | the text satisfies the guide), which masking token by token does not give."""

from collections import Counter

import espalier as es
from espalier.decoders.faithful import Faithful


def main() -> Faithful:
    lm = es.load()
    guide = es.regex(r" (red|green|blue|yellow)")
    drawn = es.faithful(lm, es.raw("My favourite colour is"), guide, n=8, seed=0, budget=400, max_tokens=6)
    print(Counter(sample.text.strip() for sample in drawn))
    print(f"method {drawn.method}, {drawn.attempts} attempts in {drawn.passes} passes, reliable: {drawn.reliable}")
    print(f"log p(the text satisfies the guide) = {drawn.log_z:.2f} ± {drawn.log_z_error:.2f}")
    return drawn


if __name__ == "__main__":
    main()
