"""Masks in your own loop: Espalier's guides with any model that gives logits, here transformers-like arrays in numpy."""

import numpy as np

import espalier as es


def main() -> str:
    lm = es.load()  # only its vocabulary is used below
    masks = es.masks(es.json_schema({"type": "array", "items": {"type": "integer"}, "maxItems": 3}), lm.vocab)
    buffer = np.zeros(masks.words, dtype=np.int32)
    cursor, rng, tokens = masks.start(buffer), np.random.default_rng(0), list[int]()
    while not (cursor.accepts() and len(tokens) >= 6):
        cursor.fill()
        allowed = np.unpackbits(buffer.view(np.uint8), bitorder="little")[: lm.vocab.size].astype(bool)
        logits = np.where(allowed, rng.normal(size=lm.vocab.size), -np.inf)  # your model's logits go here
        logits[list(lm.vocab.end)] = -np.inf
        tokens.append(int(logits.argmax()))
        assert cursor.commit(tokens[-1])
    text = lm.tokenizer.decode(tokens)
    print(text)
    return text


if __name__ == "__main__":
    main()
