"""A guide of your own, in twelve lines: brackets that balance, under a beam, and beside the library's own guides."""

import espalier as es
from espalier.text.vocab import Vocab


class Balanced(es.Guide):
    exactness = "exact"

    def start(self) -> int:
        return 0

    def advance(self, depth: int, data: bytes) -> int | None:
        for byte in data:
            depth += {ord("("): 1, ord(")"): -1}.get(byte, 0)
            if depth < 0:
                return None
        return depth

    def accepts(self, depth: int) -> bool:
        return depth == 0


def main() -> list[str]:
    vocab = Vocab([b"(", b")", b"()", b"x", b"(x", None], end=[5])
    model = es.models.Table.random(vocab.size, depth=2, seed=3)
    model.vocab = vocab  # with a real model: lm = es.load(); lm.generate("…", constraint=Balanced())
    guide = Balanced() & es.regex("[()]*x[()]*")  # brackets that balance around one x
    stop = es.stop.end(vocab.end) | es.stop.budget(8)
    [found] = es.run(es.beam(model * guide, es.Prefix([0]), stop, width=4))
    return [vocab.join(x.prefix.written()).decode() for x in found if x.prefix.last in vocab.end]


if __name__ == "__main__":
    print("\n".join(main()))
