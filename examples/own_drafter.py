"""A drafter of your own: it proposes what followed the last token when it was last written. The text stays the same."""

import espalier as es


class LastTime(es.drafting.Drafter):
    """Drafts the four tokens that followed the previous occurrence of the last token."""

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        yield from ()  # it asks no model
        ids, draft = x.ids(), es.drafting.Draft(x)
        places = [i for i, token in enumerate(ids[:-1]) if token == ids[-1]]
        if places:
            draft.extend(0, ids[places[-1] + 1 : places[-1] + 5])
        return draft


def main() -> tuple[es.Completion, es.Completion]:
    lm = es.load()
    prompt = "Write the numbers from one to ten, then write them again."
    plain = lm.generate(prompt, drafter=None, max_tokens=60)
    drafted = lm.generate(prompt, drafter=LastTime(), max_tokens=60)
    print(drafted.text)
    print(f"the same text: {plain.text == drafted.text}; {plain.stats.passes} passes became {drafted.stats.passes}")
    return plain, drafted


if __name__ == "__main__":
    main()
