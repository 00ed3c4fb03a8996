"""A haiku: lines of five, seven and five syllables, counted by a small table (vocabulary.cmu() has 130,000 words)."""

import espalier as es

SYLLABLES = {
    1: "a the old still pond frog jumps in to sound of moon leaf falls wind snow night rain soft light on and grass cold",
    2: "autumn water silent morning winter mountain evening river shadow whisper petal drifting",
    3: "butterfly wandering evergreen",
}
SOUNDS = {word: [["AH1"] * count] for count, words in SYLLABLES.items() for word in words.split()}


def main() -> str:
    lm = es.load()
    lines = es.constraints.vocabulary.syllables([5, 7, 5], SOUNDS.get, words=SOUNDS)
    signs = es.regex("[a-z]+( [a-z]+)*(\n[a-z]+( [a-z]+)*){2}")  # one blank between words, nothing else
    haiku = lm.generate("Write a haiku about autumn.", constraint=lines & signs, max_tokens=40, temperature=0.7, seed=3)
    print(haiku)
    return haiku.text


if __name__ == "__main__":
    main()
