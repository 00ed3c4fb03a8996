"""A beam under a schema: the most probable of all texts that satisfy it, as far as a beam of four sees."""

import espalier as es

VERDICT = {
    "type": "object",
    "properties": {"mood": {"enum": ["positive", "negative", "mixed"]}, "sure": {"type": "boolean"}},
    "required": ["mood", "sure"],
    "additionalProperties": False,
}


def main() -> es.Completion:
    lm = es.load()
    review = "The plot is thin, but I have not laughed this much in years."
    found = lm.complete(f"What is the mood of this review? {review}", decoder=es.decoders.Beam(4), schema=VERDICT, n=3)
    for each in found:
        print(f"{each.log_weight:8.3f}  {each.text}")
    return found


if __name__ == "__main__":
    main()
