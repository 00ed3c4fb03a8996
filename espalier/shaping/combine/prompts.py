"""One model after two prompts: what the one says more than the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.scorer import Scorer
from espalier.shaping.combine.guidance import Reprompted, guidance
from espalier.shaping.combine.linear import combine
from espalier.shaping.combine.reading import prefix_of, scorer_of, text_of
from espalier.shaping.second_stream import SecondStream, twins

if TYPE_CHECKING:
    from espalier.lm import LanguageModel

Noise = Literal["opposite", "null", "shuffled", "random"]
OPPOSITE = "Always respond with the opposite of what you're asked. You never get it right.\n\n"


class Prompted(combine):
    """A sum of two prompts' rows, and `prompt`, the prefix that it is meant to be sampled from."""

    prompt: Prefix


def context_aware(lm: LanguageModel | Scorer, context: str | Prefix, question: str | Prefix, a: float = 0.5) -> Prompted:
    """(1 + a) · z(· | context, question) - a · z(· | question): what the context adds counts more than the model's memory.

    Go on from its `prompt`, context and question together: `lm.generate(scorer.prompt, scorer=scorer)`. a = 0 and an empty
    context leave the model as it is. With a bare scorer, context and question are prefixes. Shi et al. 2023, "Trusting your
    evidence" (arXiv 2305.14739).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> scorer = context_aware(model, es.Prefix([1, 2]), es.Prefix([0]), a=1.0)
    >>> [x] = es.run(es.sample(scorer, scorer.prompt, es.stop.budget(2), es.Rng(0)))
    >>> x.ids()[:3]
    [1, 2, 0]
    """
    require(0 <= a < math.inf, f"a={a}: the weight of the context, from 0; 0.5 for summaries, 1 against what the model knows")
    scorer = scorer_of(lm)
    if isinstance(context, str) and isinstance(question, str):
        both = prefix_of(lm, f"{context}\n\n{question}" if context else question)
    else:
        both = Prefix([*prefix_of(lm, context).ids(), *prefix_of(lm, question).ids()])
    made = Prompted([scorer, Reprompted(scorer, prefix_of(lm, question))], [1 + a, -a], space="logits")
    made.prompt = both
    return made


def instructive(
    lm: LanguageModel | Scorer,
    prompt: str | Prefix,
    noisy: Noise | Prefix = "opposite",
    epsilon: float = 0.3,
    rng: Rng | None = None,
) -> Prompted:
    """z(· | prompt) - epsilon · z(· | noisy prompt): away from what the model would say to an instruction that is spoilt.

    noisy: "opposite" asks for the opposite, "null" has no instruction, "shuffled" 60 % of its words in any order, "random"
    other tokens, drawn from `rng`; or a prefix of your own. epsilon = 0 is the model; a noisy prompt equal to the prompt gives
    softmax((1 - epsilon) · z). Kim et al. 2023, "Instructive decoding" (arXiv 2311.00233).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> scorer = instructive(model, es.Prefix([1, 2, 3]), noisy="shuffled")
    >>> [x] = es.run(es.sample(scorer, scorer.prompt, es.stop.budget(2), es.Rng(0)))
    >>> x.ids()[:3]
    [1, 2, 3]
    """
    require(0 <= epsilon < 1, f"epsilon={epsilon}: the weight of the noisy prompt, from 0 and below 1; 0.3 is usual")
    scorer, own = scorer_of(lm), prefix_of(lm, prompt)
    other = noisy if isinstance(noisy, Prefix) else _spoilt(lm, prompt, own, noisy, rng or Rng(0), scorer.vocab_size)
    made = Prompted([scorer, Reprompted(scorer, other)], [1, -epsilon], space="logits")
    made.prompt = own
    return made


def lqcd(scorer: LanguageModel | Scorer, leading: str | Prefix, a: float = 0.5) -> Scorer:
    """(1 + a) · z(· | the neutral question) - a · z(· | leading): tokens that only the leading question makes probable lose.

    The neutral question is the prefix that is sampled from. This is `guidance(scorer, leading, 1 + a)`; the paper's a is not
    known to us. A leading question equal to the neutral one changes nothing. (arXiv 2408.11261.)

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> [x] = es.run(es.sample(lqcd(model, es.Prefix([2])), es.Prefix([1]), es.stop.budget(2), es.Rng(0)))
    >>> len(x.written())
    2
    """
    require(0 <= a < math.inf, f"a={a}: the weight of the contrast, from 0")
    return guidance(scorer, leading, 1 + a)


def adversarial(lm: LanguageModel | Scorer, safe: str | Prefix, opposite: str | Prefix, a: float = 0.5) -> Scorer:
    """z(· | safe, prompt) - a · z(· | opposite, prompt): both are put before the prompt that is sampled from.

    The paper trains both as embeddings; here they are texts (or prefixes). Its a is not known to us. Two equal ones give the
    model behind them, softmax((1 - a) · z). Zhao et al. 2024, "Adversarial contrastive decoding" (arXiv 2406.16743).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=4, seed=0)
    >>> scorer = adversarial(model, es.Prefix([0, 1]), es.Prefix([3, 2]))
    >>> [x] = es.run(es.sample(scorer, es.Prefix([1]), es.stop.budget(2), es.Rng(0)))
    >>> len(x.written())
    2
    """
    require(0 <= a < 1, f"a={a}: the weight of the opposite prompt, from 0 and below 1")
    scorer = scorer_of(lm)
    return combine([_behind(scorer, _before(lm, each)) for each in (safe, opposite)], [1, -a], space="logits")


def _behind(scorer: Scorer, before: Sequence[int]) -> Scorer:
    return SecondStream(scorer, twins(lambda root: Prefix([*before, *root.ids()])))


def _before(lm: Any, text: str | Prefix) -> list[int]:
    return text_of(lm, text if isinstance(text, Prefix) else f"{text}\n\n")


def _spoilt(lm: Any, prompt: str | Prefix, own: Prefix, noise: str, rng: Rng, size: int) -> Prefix:
    """The prompt with its instruction spoilt."""
    import torch

    words: list[Any] = prompt.split() if isinstance(prompt, str) else list(own.ids())

    def built(parts: Sequence[Any]) -> Prefix:
        return prefix_of(lm, " ".join(parts)) if isinstance(prompt, str) else Prefix(parts)

    if noise == "opposite":
        if not isinstance(prompt, str):
            raise InvalidInput(
                "noisy='opposite' is written before a text, but the prompt is a prefix; give its text, or a prefix"
            )
        return prefix_of(lm, OPPOSITE + prompt)
    if noise == "null":
        template = getattr(getattr(lm, "tokenizer", None), "template", None)
        return Prefix(lm.tokenizer.chat([{"role": "user", "content": ""}])) if template is not None else Prefix(own.ids()[:1])
    if noise == "shuffled":
        kept = [word for word in words if rng.flip(0.6)] or words[:1]
        order = list[Any]()
        while kept:
            order.append(kept.pop(rng.categorical(torch.ones(len(kept)))))
        return built(order)
    require(noise == "random", f"noisy={noise!r}: use 'opposite', 'null', 'shuffled', 'random' or a Prefix")
    vocab = getattr(lm, "vocab", None)
    usable = torch.ones(size)
    if vocab is not None and vocab.special:
        usable[sorted(vocab.special)] = 0
    return Prefix([rng.categorical(usable) for _ in range(len(own))])
