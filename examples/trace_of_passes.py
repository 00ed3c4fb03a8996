"""A trace: what the decoder asked in each pass, and what was kept of it."""

import espalier as es
from espalier.trace import Conversation


def main() -> Conversation:
    lm, said = es.load(), Conversation()
    [out] = lm.complete_all(["Say 'tick tock' four times."], trace=said, drafter="lookup", max_tokens=24)
    for number, one in enumerate(said.passes, 1):
        kept = lm.tokenizer.decode(one.kept)
        print(f"pass {number:2}: {one.nodes:3} rows asked, {len(one.kept)} tokens kept {kept!r}")
    print(out.text)
    return said


if __name__ == "__main__":
    main()
