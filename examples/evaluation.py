"""An evaluation: which of two answers does the model find likelier? Scores of given texts, one pass per question."""

import espalier as es

QUESTIONS = [
    ("The capital of France is", " Paris", " Rome"),
    ("Two plus two is", " four", " seven"),
    ("The opposite of hot is", " cold", " blue"),
    ("Water freezes into", " ice", " sand"),
]


def main() -> float:
    lm, right = es.load(), 0
    for prompt, good, bad in QUESTIONS:
        better, worse = lm.score(es.raw(prompt), [good, bad])
        right += better.logprob > worse.logprob
        print(f"{better.logprob:8.2f} {worse.logprob:8.2f}  {prompt}{good}")
    print(f"accuracy {right / len(QUESTIONS):.2f}")
    return right / len(QUESTIONS)


if __name__ == "__main__":
    main()
