"""A ReAct agent: temporal logic says what follows what, and a calculator answers in the model's place."""

import espalier as es
from espalier.constraints import Segment, ltl
from espalier.decoders import Answered

ASKED = "A box holds 12 pens. How many pens are in 5 boxes?"
SOLVED = "Thought: I multiply 12 by 5.\nAction: 12 * 5\nObservation: 60\nThought: The sum is done.\nAnswer: 60\n"


def calculator(text: str) -> str:
    return str(eval(text.rsplit("Action: ", 1)[1]))  # only digits and signs: the segment's guide says so


SEGMENTS = {
    "Thought": Segment("Thought: ", es.regex("[A-Z][A-Za-z0-9 ,']{5,40}\\.")),
    "Action": Segment("Action: ", es.regex("[0-9]{1,4} [+*-] [0-9]{1,4}")),
    "Observation": Segment("Observation: ", es.regex("-?[0-9]+"), answer=calculator),
    "Answer": Segment("Answer: ", es.regex("-?[0-9]{1,9}")),
}
PLAN = ltl(
    "Thought & G(Thought -> X (Action | Answer)) & G(Action -> X Observation) & G(Observation -> X Thought)"
    "& G(Answer -> last) & X Action & (X X X X Answer | X X X X X X X Answer)",  # an answer after one sum or two
    SEGMENTS,
)


def main() -> str:
    lm = es.load()
    decoder = Answered(PLAN, lm.vocab, lm.tokenizer.encode)
    question = "A train has 6 cars with 48 seats each. How many seats are there?"
    turns = [("user", ASKED), ("assistant", SOLVED), ("user", question)]
    messages = [{"role": role, "content": content} for role, content in turns]
    written = lm.generate(messages, constraint=PLAN, decoder=decoder, drafter=None, max_tokens=150)
    print(written)
    return written.text


if __name__ == "__main__":
    main()
