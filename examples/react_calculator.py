"""A ReAct agent: temporal logic says what follows what, and a calculator answers in the model's place."""

import espalier as es
from espalier.constraints import Segment, ltl
from espalier.decoders import Answered

SUMS = es.regex("[0-9]{1,4}( [+*-] [0-9]{1,4}){1,3}")


def calculator(text: str) -> str:
    return str(eval(text.rsplit("Action: ", 1)[1]))  # only digits and signs: the segment's guide says so


SEGMENTS = {
    "Thought": Segment("Thought: ", es.regex("[A-Za-z0-9 ,']{5,80}\\.")),
    "Action": Segment("Action: ", SUMS),
    "Observation": Segment("Observation: ", es.regex("-?[0-9]+"), answer=calculator),
    "Answer": Segment("Answer: ", es.regex("-?[0-9]{1,9}")),
}
PLAN = ltl(
    "Thought & X Action & G(Thought -> X (Action | Answer)) & G(Action -> X Observation) "
    "& G(Observation -> X Thought) & G(Answer -> last)",
    SEGMENTS,
)


def main() -> str:
    lm = es.load()
    decoder = Answered(PLAN, lm.vocab, lm.tokenizer.encode)
    question = "A crate holds 12 boxes of 34 pens. How many pens are in 3 crates?"
    written = lm.generate(question, constraint=PLAN, decoder=decoder, drafter=None, max_tokens=150)
    print(written)
    return written.text


if __name__ == "__main__":
    main()
