"""How GGUF files say that text is split before merging (`tokenizer.ggml.pre`): one line per way, under all its names."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers

from espalier.errors import LoadError

__all__ = ["Split", "split"]

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA3 = _SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_QWEN35 = _QWEN2.replace(r"[^\r\n\p{L}\p{N}]?\p{L}+", r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+").replace(
    r" ?[^\s\p{L}\p{N}]+", r" ?[^\s\p{L}\p{M}\p{N}]+"
)
_SEED = _QWEN2.replace(r"[^\s\p{L}\p{N}]+[\r\n]*", r"[^\s\p{L}\p{N}\r\n]+")
_BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+END|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*END"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = _CASED.replace("END", "") + r"|\p{N}" + _TAIL
_GPT4O = _CASED.replace("END", _SHORT + "?") + r"|\p{N}{1,3}" + _TAIL
_DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CJK = "[一-龥\u0800-一가-\ud7ff]+"
_MARKS = r"\s?[!-/:-~！-／：-～‘-‟　-。]+"
_BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
_DIGITS = r"\p{N}"


@dataclass(frozen=True)
class Split:
    """One way: the patterns that cut one after the other, whether whole words skip the merges, whether a text begins with
    `bos` when the file does not say, and whether text is normalised (NFC) first."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False
    nfc: bool = False

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """The pre-tokenizer that cuts so, and turns bytes into characters last."""
        cuts = [pre_tokenizers.Split(Regex(pattern), "isolated", invert=False) for pattern in self.patterns]
        return pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    def normalizer(self) -> normalizers.Normalizer | None:
        """The normalizer, if there is one."""
        return normalizers.NFC() if self.nfc else None


_WAYS: tuple[tuple[str, Split], ...] = (
    (
        "default gpt-2 gpt2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum exaone4 mpt olmo jais trillion "
        "granite-docling",
        Split((_WORDS,)),
    ),
    ("smollm starcoder refact command-r codeshell exaone minerva-7b", Split((_DIGITS, _WORDS))),
    ("llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2", Split((_LLAMA3,), whole_words=True, begins=True)),
    ("smaug-bpe dbrx", Split((_LLAMA3,), whole_words=True)),
    ("glm4 chatglm-bpe", Split((_LLAMA3,))),
    ("qwen2 deepseek-r1-qwen megrez", Split((_QWEN2,), nfc=True)),
    ("stablelm2 hunyuan grok-2 kormo", Split((_QWEN2,))),
    ("qwen35", Split((_QWEN35,), nfc=True)),
    ("tekken", Split((_TEKKEN,), whole_words=True, begins=True)),
    ("gpt-4o llama4 minimax-m2", Split((_GPT4O,))),
    ("deepseek-llm", Split((r"[\r\n]", r"\s?[\p{Lu}\p{Ll}\p{Lt}]+", _MARKS, r"\s+$", _CJK, r"\p{N}+"))),
    ("deepseek-coder", Split((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, _DIGITS))),
    ("deepseek-v3 hunyuan-dense", Split((r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", _DEEPSEEK))),
    ("falcon", Split((r"[\p{P}\$\+<=>\^~\|`]+", _WORDS, r"[0-9][0-9][0-9]"))),
    ("bailingmoe bailingmoe2 llada-moe", Split((_BAILING,))),
    ("seed-coder", Split((_SEED,))),
    ("poro-chat bloom gpt3-finnish", Split((_BLOOM,))),
    ("viking", Split((_BLOOM, _DIGITS))),
    ("superbpe", Split((r"\p{N}+", r"(?=(\d{3})+(?!\d))"))),
)
_BY_NAME = {name: way for names, way in _WAYS for name in names.split()}


def split(name: object) -> Split:
    """The way that a GGUF file calls by this name. Raises `LoadError` for one that is not known: a guess is never made.

    >>> [piece for piece, _ in split("gpt-2").pre_tokenizer().pre_tokenize_str("It's 10")]
    ['It', "'s", 'Ġ10']
    """
    if not isinstance(name, str) or name not in _BY_NAME:
        raise LoadError(
            f"this GGUF file splits text in the way called {name!r:.80} (tokenizer.ggml.pre), which is not known here; put the "
            "model's own tokenizer.json beside the file, or load its Hugging Face folder"
        )
    return _BY_NAME[name]
