"""Listwise ranking: every passage exactly once, in the order that the model prefers."""

import espalier as es

PASSAGES = {
    "[A]": "The Moon orbits the Earth every 27 days.",
    "[B]": "Bread is baked from flour, water and yeast.",
    "[C]": "Tides are caused by the Moon's gravity.",
    "[D]": "Mercury is the smallest planet.",
}


def main() -> list[str]:
    lm = es.load()
    listed = "\n".join(f"{name} {text}" for name, text in PASSAGES.items())
    prompt = f"{listed}\n\nRank the passages by how well they answer: why are there tides? Best first, like [X] > [Y]."
    ranking = lm.generate(prompt, constraint=es.constraints.permutation(PASSAGES, separator=" > "), max_tokens=40)
    print(ranking)
    return ranking.text.split(" > ")


if __name__ == "__main__":
    main()
