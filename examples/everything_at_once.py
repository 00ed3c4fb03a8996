"""Guidance, a watermark, a schema, a stop string, streaming and two texts, through one call."""

import espalier as es

CITIES = {"type": "array", "items": {"enum": ["Oslo", "Lima", "Cairo"]}, "minItems": 2, "maxItems": 3}


def main() -> list[str]:
    lm = es.load()
    prompt = "Name cities, as a JSON list."
    guided = es.shaping.guidance(lm.scorer, lm.prompt("Name something."), 1.5)
    mark = es.shaping.watermark(key=7)
    texts = ["", ""]
    for piece in lm.stream(prompt, scorer=guided, shapers=[mark], schema=CITIES, stop="\n\n", n=2, seed=1, temperature=0.8):
        texts[piece.branch] += piece
    print(*texts, sep="\n")
    return texts


if __name__ == "__main__":
    main()
