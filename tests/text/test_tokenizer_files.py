"""All the files of a tokenizer are read as transformers reads them, and every fault names its file and its member."""

from __future__ import annotations

import json
from typing import Any

import pytest
from models.folders import CHATML, folder, letters

import espalier as es
from espalier.errors import InvalidInput, LoadError

BOS = {"chat_template": "{{bos_token}}" + CHATML}
HI = [{"role": "user", "content": "hi"}]


def test_added_tokens_beyond_the_rows_never_come_and_are_refused() -> None:
    lm = es.load(folder(tokenizer=letters("<image_soft_token>")))
    assert lm.complete("hi", max_tokens=3).tokens
    assert lm.vocab.size == 259
    with pytest.raises(InvalidInput, match=r"'<image_soft_token>' \(259\), for which the model has no row"):
        lm.prompt(es.raw("a<image_soft_token>"))
    assert lm.tokenizer.decode(lm.prompt("a<image_soft_token>").ids()).count("<image_soft_token>") == 1


def test_a_tokenizer_of_another_model_is_refused() -> None:
    place = folder(vocab_size=200, eos_token_id=1)
    with pytest.raises(LoadError, match="beyond 200 rows of the model"):
        es.load(place)


def test_special_tokens_map_speaks_where_the_settings_are_silent() -> None:
    files = {"special_tokens_map.json": {"bos_token": {"content": "<s>"}, "eos_token": "<|endoftext|>"}}
    lm = es.load(folder(tokenizer=letters("<s>"), vocab_size=260, settings=BOS, files=files))
    assert lm.tokenizer.chat(HI)[0] == 259
    assert lm.vocab.end == {258}  # the settings say <|im_end|>, and are believed
    lm = es.load(folder(vocab_size=259, settings={"eos_token": None, "chat_template": None}, files=files, eos_token_id=None))
    assert lm.vocab.end == {256}


def test_templates_are_given_every_token_that_has_a_name() -> None:
    settings = {
        "extra_special_tokens": {"image_token": "<img>", "eoi": {"content": "<s>"}},
        "sep_token": "<s>",
        "mask_token": None,
        "chat_template": "{{image_token}}{{eoi}}{{sep_token}}{{mask_token}}{{pad_token}}.",
    }
    lm = es.load(folder(tokenizer=letters("<img>", "<s>"), vocab_size=261, settings=settings))
    assert lm.tokenizer.chat_text("hi") == "<img><s><s>."


@pytest.mark.parametrize("where", ["added_tokens.json", "added_tokens_decoder"])
def test_added_tokens_outside_tokenizer_json(where: str) -> None:
    settings: dict[str, Any] = {**BOS, "bos_token": "<s>"}
    files = {}
    if where == "added_tokens.json":
        files = {where: {"<s>": 259, "<tool>": 260}}
    else:
        settings[where] = {"259": {"content": "<s>", "special": True}, "260": {"content": "<tool>"}}
    lm = es.load(folder(vocab_size=261, settings=settings, files=files))
    assert lm.tokenizer.chat(HI)[0] == 259
    assert 259 in lm.vocab.special
    assert lm.vocab[260] == b"<tool>"
    assert lm.tokenizer.encode("a<tool>") == [*lm.tokenizer.encode("a"), 260]


def test_end_tokens_that_can_never_come_are_left_out() -> None:
    for ids in ([258, 32000], [258, -1], 258):
        assert es.load(folder(files={"generation_config.json": {"eos_token_id": ids}})).vocab.end == {258}


def test_truncation_and_padding_of_tokenizer_json_are_not_for_us() -> None:
    tokenizer = letters()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    lm = es.load(folder(tokenizer=tokenizer))
    assert len(lm.tokenizer.encode("abcdefgh")) == 8
    assert len(lm.tokenizer.encode("ab")) == 2


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", {"chat_template": True}),
        ("tokenizer_config.json", {"chat_template": [{"name": "x"}]}),
        ("tokenizer_config.json", {"chat_template": ["x"]}),
        ("tokenizer_config.json", {"bos_token": 5}),
        ("tokenizer_config.json", {"eos_token": {"text": "x"}}),
        ("tokenizer_config.json", {"added_tokens_decoder": []}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "<s>"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"5": "<s>"}}),
        ("tokenizer_config.json", {"additional_special_tokens": "x"}),
        ("special_tokens_map.json", {"bos_token": ["<s>"]}),
        ("added_tokens.json", {"<s>": "x"}),
        ("added_tokens.json", {"<s>": -1}),
        ("added_tokens.json", {"<s>": 1.5}),
        ("added_tokens.json", {"": 259}),
        ("chat_template.json", {"chat_template": 5}),
        ("special_tokens_map.json", {"bos_token": "\ud800"}),
    ],
    ids=str,
)
def test_a_wrong_member_is_named_with_its_file(file: str, content: dict[str, Any]) -> None:
    with pytest.raises(LoadError) as caught:
        es.load(folder(files={file: content}))
    assert file in str(caught.value)
    key = next(iter(content))
    assert (key or "''") in str(caught.value) or "surrogates" in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("content", ["[]", "5", "", "{", "[" * 100_000, '{"a": NaN', "\ufeff", '"x"'], ids=range(8))
def test_a_file_that_holds_no_object_is_named(file: str, content: str) -> None:
    with pytest.raises(LoadError, match=file):
        es.load(folder(files={file: content}))


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_a_pointer_of_git_lfs_is_named(file: str) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    with pytest.raises(LoadError, match=f"{file} is only a pointer of git-lfs"):
        es.load(folder(files={file: pointer}))


def test_a_byte_order_mark_is_passed_over() -> None:
    assert es.load(folder(files={"tokenizer_config.json": "\ufeff" + json.dumps({"eos_token": "<|im_end|>"})})).vocab.end == {
        258
    }
