"""Opening the tiny models, their value head and their encoders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import tokenizers
import torch
from safetensors import torch as safetensors
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor

from espalier.capabilities import Extra
from espalier.engine import run
from espalier.errors import InvalidInput
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.run import Decoder
from espalier.scorer import Ask
from espalier.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from espalier.lm import LanguageModel

__all__ = ["MARKS", "BiEncoder", "ValueHead", "open_tiny", "tokenizer"]

MARKS = ("<end>", "<suffix>", "<middle>", "<written>")  # the tokens 256 … 259; the others are the 256 bytes
NAMES = ("code", "translation")


def tokenizer() -> Tokenizer:
    """The tokenizer of all tiny models: bytes, and `MARKS`.

    >>> tokenizer().vocab.size
    260
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(MARKS))
    return Tokenizer(backend, {"eos_token": MARKS[0]})


def open_tiny(name: str, *, eager: bool = False) -> LanguageModel:
    """A tiny language model: "code" (fills in the middle of short functions) or "translation" (was trained with wait-k masks).

    They show how `Infill`, `WaitK`, value-guided searches and `Rankgen` are used with models made for them; nothing else can be
    expected of them. Raises `InvalidInput` for another name.

    >>> lm = open_tiny("code")
    >>> lm.complete(es.raw("def add(x,y):\\n"), max_tokens=20, temperature=0).text  # doctest: +SKIP
    ' r=x+y\\n return r\\n'
    """
    if name not in NAMES:
        raise InvalidInput(f"there is no tiny model {name!r}; write one of {', '.join(map(repr, NAMES))}")
    return _opened(name, eager)


def _opened(name: str, eager: bool = False) -> LanguageModel:
    from espalier.lm import LanguageModel

    tensors = _read(name)
    config = json.loads((files(__package__) / "sizes.json").read_text())
    return LanguageModel(Transformer.from_weights(Config.from_hf(config), tensors, eager=eager), tokenizer(), f"tiny {name}")


def _read(name: str) -> dict[str, Tensor]:
    data = (files(__package__) / f"{name}.safetensors").read_bytes()
    return {key: tensor.float() for key, tensor in safetensors.load(data).items()}


@dataclass(frozen=True)
class ValueHead:
    """The chance that a text that begins so will be right, read off the last hidden state: a score of searches' candidates.

    `open()` gives one for texts of the "code" model; it reads them with a model of its own.

    >>> head = ValueHead.open()
    >>> right, wrong = head(["def add(x,y):\\n r=x+y", "def add(x,y):\\n r=x-y"])
    >>> right > wrong
    True
    """

    lm: LanguageModel
    weight: Tensor  # [D]
    bias: float

    @classmethod
    def open(cls) -> ValueHead:
        """The head, and the model under it."""
        head = _read("value_head")
        return cls(_opened("value"), head["weight"], float(head["bias"]))

    def __call__(self, candidates: list[Any]) -> list[float]:
        prefixes = [c.prefix if hasattr(c, "prefix") else Prefix(self.lm.tokenizer.encode(str(c))) for c in candidates]
        hidden = last_hidden(self.lm, prefixes)
        return torch.sigmoid(hidden @ self.weight + self.bias).tolist()


@dataclass(frozen=True)
class BiEncoder:
    """How well a text goes on from a prompt: the dot product of their encodings, as `Rankgen` wants it.

    An encoding is a projection of the mean hidden state. Two encoders were trained to tell what really follows from what
    follows elsewhere (Krishna et al. 2022, arXiv 2205.09726).

    >>> score = BiEncoder.open(open_tiny("code"), "def add(x,y):\\n")
    >>> right, wrong = score([" r=x+y\\n return r\\n", " r=p*q\\n return r\\n"])
    >>> right > wrong
    True
    """

    lm: LanguageModel
    prompt: str
    first: Tensor  # [D, E]
    second: Tensor  # [D, E]

    @classmethod
    def open(cls, lm: LanguageModel, prompt: str) -> BiEncoder:
        """The encoders that were trained on the "code" model, for what follows a prompt."""
        made = _read("encoders")
        return cls(lm, prompt, made["first"], made["second"])

    def __call__(self, candidates: list[Any]) -> list[float]:
        texts = [self.prompt, *(c if isinstance(c, str) else str(c.text) for c in candidates)]
        means = torch.stack([mean_hidden(self.lm, text) for text in texts])
        return ((means[1:] @ self.second) @ (means[0] @ self.first)).tolist()


def last_hidden(lm: LanguageModel, prefixes: Sequence[Prefix]) -> Tensor:
    """The last hidden states [N, D] of some prefixes, in one pass."""
    [rows] = run(_asked(lm, prefixes))
    return rows.extras["hidden"]


def mean_hidden(lm: LanguageModel, text: str) -> Tensor:
    """The mean hidden state [D] over a text's tokens (zeros for an empty one)."""
    x, nodes = Prefix(), list[Prefix]()
    for token in lm.tokenizer.encode(text):
        x = x + token if nodes else Prefix([token])
        nodes.append(x)
    return last_hidden(lm, nodes).mean(0) if nodes else torch.zeros(lm.model.capabilities.hidden or 0)


def _asked(lm: LanguageModel, prefixes: Sequence[Prefix]) -> Decoder[Rows]:
    rows: Rows = yield Ask(lm.model, list(prefixes), frozenset({Extra.HIDDEN}))
    return rows
