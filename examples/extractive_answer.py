"""An extractive answer: a span of the text, word for word."""

import espalier as es

TEXT = (
    "Marie Curie was born in Warsaw in 1867. She moved to Paris to study physics, and in 1903 she shared the "
    "Nobel Prize in Physics with her husband Pierre Curie and with Henri Becquerel."
)


def main() -> str:
    lm = es.load()
    span = es.constraints.substring(TEXT, whole_words=True)
    short = es.regex(r"(?s).{1,40}")
    answer = lm.generate(f"{TEXT}\n\nWhere was Marie Curie born? Answer with one word of the text.", constraint=span & short)
    print(answer)
    return answer.text


if __name__ == "__main__":
    main()
