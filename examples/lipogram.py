"""A lipogram: a text without the letter e, of short words."""

import espalier as es

letters = es.constraints.vocabulary


def main() -> str:
    lm = es.load()
    guide = letters.letters(banned="e") & letters.word_lengths(hi=8) & letters.ends_with(".")
    written = lm.generate("Describe a walk in a forest in one sentence.", constraint=guide, max_tokens=60)
    print(written)
    return written.text


if __name__ == "__main__":
    main()
