"""A batch over a file: one JSON line in, one out; all requests share passes, each text is what it would be alone."""

import io
import json

import espalier as es

LINES = io.StringIO(
    '{"id": 1, "text": "The parcel never came."}\n'
    '{"id": 2, "text": "Quick delivery, thank you!"}\n'
    '{"id": 3, "text": "How do I change my address?"}\n'
)  # open("tickets.jsonl") in real life


def main() -> list[dict[str, object]]:
    lm = es.load()
    tickets = [json.loads(line) for line in LINES]
    asked = [
        es.Request(f"Which kind of message is this? {t['text']}", choices=["complaint", "praise", "question"]) for t in tickets
    ]
    found = [{**ticket, "kind": out.text} for ticket, out in zip(tickets, lm.complete_all(asked), strict=True)]
    for line in found:
        print(json.dumps(line))
    return found


if __name__ == "__main__":
    main()
