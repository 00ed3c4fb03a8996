"""Calls as other models write them, and marks that are special tokens: enforced, read back, streamed."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
import torch
from served import chunks, client
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

import espalier as es
from espalier.bench.passes import random_weights
from espalier.models.executors import native
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.serving.http.reasoning_and_calls import Parts
from espalier.serving.http.special_marks import Spelled, special_marks
from espalier.text.tokenizer import Tokenizer

pytestmark = pytest.mark.skipif(not native.available(), reason="rows of the reference depend on how they were computed")
CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, "}, {"]}}, "required": ["a"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("add", "sub")]
TALK = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
TEMPLATES = {
    "mistral": TALK + "{% if tools %}[AVAILABLE_TOOLS]{{ tools }}{% endif %}{# [TOOL_CALLS] #}[assistant]",
    "mistral-args": TALK + "{% if tools %}{{ tools }}{% endif %}{# [TOOL_CALLS]name[ARGS] #}[assistant]",
    "llama3": TALK + '{% if tools %}{{ tools }} Write {"name": , "parameters": }{% endif %}{# <|python_tag|> #}[assistant]',
    "hermes": TALK + "{% if tools %}{{ tools }}{% endif %}{# <tool_call> #}[assistant]",
    "pythonic": TALK + "{% if tools %}{{ tools }}{# func_name1(params_name1 #}{% endif %}[assistant]",
    "harmony": TALK + "{% if tools %}{{ tools }}{% endif %}{# <|channel|> #}[assistant]",
    "think": TALK + "[assistant]<think>{# </think> #}",
}


def tiny(template: str, special: tuple[str, ...] = ()) -> es.LanguageModel:
    """A random model over bytes and these special tokens."""
    backend = Backend(models.BPE(vocab={p: i for i, p in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.add_special_tokens(["<end>", *special])
    tokens = Tokenizer(backend, {"eos_token": "<end>", "chat_template": TEMPLATES[template]})
    config: dict[str, Any] = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048}
    config |= {"vocab_size": tokens.vocab.size, "tie_word_embeddings": True}
    model = Transformer.from_weights(Config.from_hf(config), random_weights(config, torch.float32, "cpu"))
    return es.LanguageModel(model, tokens, "tiny")


HARMONY = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>")
CASES = {
    "hermes": ("hermes", ("<tool_call>", "</tool_call>")),
    "mistral": ("mistral", ()),
    "mistral-token": ("mistral", ("[TOOL_CALLS]",)),
    "mistral-args": ("mistral-args", ()),
    "mistral-args-token": ("mistral-args", ("[TOOL_CALLS]", "[ARGS]")),
    "llama3": ("llama3", ()),
    "pythonic": ("pythonic", ()),
    "harmony": ("harmony", HARMONY),
}


SEVERAL = ("mistral", "llama3", "pythonic")  # of which a random model that may go on with calls comes to an end


def favoured(lm: es.LanguageModel, format: str, letter: str = "c") -> dict[str, float]:
    """What a random model must like so that it does not think, or go on with calls, for ever."""
    if format == "harmony":  # messages end at once, and one begins with this letter
        ends = {str(id): 40.0 for id in lm.vocab.special if lm.vocab.name(id) == "<|end|>"}
        return ends | {str(lm.tokenizer.encode(letter)[0]): 20.0}
    return {str(lm.tokenizer.encode("]")[0]): 20.0} if format in ("mistral", "pythonic") else {}


@pytest.mark.parametrize("case", CASES)
def test_calls_are_enforced_and_streamed(case):
    format, special = CASES[case]

    async def scenario() -> None:
        async with client(tiny(format, special)) as c:
            named = {"type": "function", "function": {"name": "sub"}}
            for seed, choice in enumerate(["required", named]):
                body = {"messages": [{"role": "user", "content": "hi"}], "tools": TOOLS, "tool_choice": choice, "seed": seed}
                body |= {
                    "max_tokens": 400,
                    "parallel_tool_calls": choice == "required" and format not in ("hermes", "harmony", "mistral-args"),
                }
                body["logit_bias"] = favoured(c.engine.lm, format)
                found = (await c.post(CHAT, json=body)).json()["choices"][0]
                assert found["finish_reason"] == "tool_calls", found
                calls = found["message"]["tool_calls"]
                assert found["message"]["content"] is None or format == "harmony"
                assert {call["function"]["name"] for call in calls} <= ({"sub"} if choice is named else {"add", "sub"})
                assert all(json.loads(call["function"]["arguments"])["a"] in (1, "}, {") for call in calls)
                assert "mistral" not in format or all(len(call["id"]) == 9 for call in calls)
                streamed: dict[int, list[str]] = {}
                for event in chunks((await c.post(CHAT, json={**body, "stream": True})).text):
                    for part in event["choices"][0]["delta"].get("tool_calls", []):
                        if part["index"] in streamed:
                            assert "id" not in part
                            assert "name" not in part["function"]
                        known = streamed.setdefault(part["index"], [part["function"].get("name"), ""])
                        known[1] += part["function"]["arguments"]
                assert list(streamed.values()) == [[c["function"]["name"], c["function"]["arguments"]] for c in calls]

    asyncio.run(scenario())


@pytest.mark.parametrize("template", ["mistral", "mistral-args", "llama3", "pythonic"])
def test_free_text_stays_free(template):
    async def scenario() -> None:
        async with client(tiny(template)) as c:
            body = {"messages": [{"role": "user", "content": "hi"}], "tools": TOOLS, "max_tokens": 20, "seed": 5}
            found = (await c.post(CHAT, json=body)).json()["choices"][0]
            assert found["message"]["content"]
            assert "tool_calls" not in found["message"]

    asyncio.run(scenario())


def test_a_schema_holds_for_harmonys_final_text():
    async def scenario() -> None:
        lm = tiny("harmony", HARMONY)
        async with client(lm) as c:
            body = {"messages": [{"role": "user", "content": "hi"}], "regex": "[xyz]{3}", "max_tokens": 300, "seed": 1}
            body["logit_bias"] = favoured(lm, "harmony", "f")
            found = (await c.post(CHAT, json=body)).json()["choices"][0]
            assert found["finish_reason"] == "stop", found
            assert set((found["message"]["content"] or "")[-3:]) <= set("xyz")

    asyncio.run(scenario())


ONE = '{"name": "add", "arguments": {"a": "}, {\\""}}'
TURNED = '{ "arguments" :{"a": "}, {\\""}, "name":"add"}'
COMMENT = '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": "}, {\\""}'
TEXTS = {
    "list": ("mistral", f"Well. [TOOL_CALLS] [{ONE}, {TURNED}]", "Well. ", "", 2),
    "bare": ("mistral-args", 'A. [TOOL_CALLS]add[ARGS]{"a": "}, {\\""}[TOOL_CALLS]add[ARGS]{"a": "}, {\\""}', "A. ", "", 2),
    "id": ("mistral-args", '[TOOL_CALLS]add[CALL_ID]012345678[ARGS]{"a": "}, {\\""}', "", "", 1),
    "alone": ("llama3", ONE.replace("arguments", "parameters"), "", "", 1),
    "opened": ("llama3", "<|python_tag|>" + ONE.replace("arguments", "parameters"), "", "", 1),
    "none": ("llama3", "no { call", "no { call", "", 0),
    "two": ("hermes", f"<tool_call>\n{ONE}\n</tool_call>\n<tool_call>{TURNED}</tool_call>", "", "", 2),
    "json": ("json", ONE, "", "", 1),
    "python": ("llama3-pythonic", '[add(a="}, {\\""), add(a="}, {\\"")]', "", "", 2),
    "thought": (
        "harmony",
        "<|channel|>analysis<|message|>Hm <|x<|end|><|start|>assistant<|channel|>commentary<|message|>So.<|end|>"
        f"<|start|>assistant{COMMENT}",
        "So.",
        "Hm <|x",
        1,
    ),
    "final": (
        "harmony",
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Yes",
        "Yes",
        "Hm",
        0,
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_however_a_text_is_cut(case: str):
    format, text, content, reasoning, count = TEXTS[case]
    guide = es.constraints.tool_calls({"add": {**SCHEMA, "properties": {"a": {"const": '}, {"'}}}}, format=format)
    if format != "harmony" and case != "opened":
        assert guide.matches(text.encode())
    dice = random.Random(0)
    for _ in range(100):
        cuts = sorted(dice.sample(range(1, len(text)), min(len(text) - 1, dice.randrange(1, 20))))
        parts, calls, shown, thought = Parts(format), dict[int, str](), "", ""
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        for at, piece in enumerate(pieces):
            for delta in parts.feed(piece, final=at == len(pieces) - 1):
                shown, thought = shown + delta.get("content", ""), thought + delta.get("reasoning", "")
                for call in delta.get("tool_calls", []):
                    calls[call["index"]] = calls.get(call["index"], "") + call["function"]["arguments"]
        assert (shown, thought) == (content, reasoning)
        assert list(calls.values()) == ['{"a": "}, {\\""}'] * count


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_between_special_tokens(stream):
    special = ("<think>", "</think>")
    lm = tiny("think", special)
    [close] = [id for id in lm.vocab.special if lm.vocab.name(id) == "</think>"]

    async def scenario() -> None:
        async with client(lm) as c:
            body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 300, "seed": 3, "regex": "[xyz]{3}"}
            body |= {"logit_bias": {str(close): 3}, "stream": stream}
            answer = await c.post(CHAT, json=body)
            if stream:
                choices = [event["choices"][0] for event in chunks(answer.text)]
                reasoning, content = ("".join(ch["delta"].get(n) or "" for ch in choices) for n in ("reasoning", "content"))
                reason = choices[-1]["finish_reason"]
            else:
                choice = answer.json()["choices"][0]
                reasoning, content = choice["message"]["reasoning"], choice["message"]["content"]
                reason = choice["finish_reason"]
            assert reason == "stop"
            assert len(reasoning) > 0
            assert len(content.strip()) == 3
            assert set(content.strip()) <= set("xyz")
            free = {k: v for k, v in body.items() if k != "regex"} | {"stream": False}
            message = (await c.post(CHAT, json=free)).json()["choices"][0]["message"]
            assert message["reasoning"]  # the region of a free text ends at the same token
            assert "</think>" not in message["reasoning"] + (message["content"] or "")

    asyncio.run(scenario())


def test_marks_stand_where_their_tokens_do():
    lm = tiny("think", ("<think>", "</think>"))
    marks = special_marks(lm.vocab)
    ids = {name: id for id, name in marks.items()}
    text = "Hé, so"
    tokens = [ids["<think>"], *lm.tokenizer.encode("Hé"), ids["</think>"], *lm.tokenizer.encode(", so")]
    assert Spelled(lm.vocab, marks).feed(text, tokens, final=True) == "<think>Hé</think>, so"
    spelled = Spelled(lm.vocab, marks)
    assert spelled.feed("Hé", tokens[:4]) + spelled.feed(", s", tokens[4:-1]) + spelled.feed("o", tokens[-1:]) == (
        "<think>Hé</think>, so"
    )
