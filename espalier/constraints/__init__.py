"""Guides: what a model may say. They combine (`&`, `|`, `+`, `.repeat`, `~`) and restrict a scorer: `scorer * guide`."""

from espalier.constraints import grammars
from espalier.constraints.cfg import cfg
from espalier.constraints.choices import choices
from espalier.constraints.explain import explain
from espalier.constraints.guide import Guide, Limits
from espalier.constraints.heal import Healed, heal
from espalier.constraints.json_schema import json, json_schema, parse
from espalier.constraints.lexical import avoids, contains
from espalier.constraints.masks import Masks, masks
from espalier.constraints.regex import regex
from espalier.constraints.tags import Tag, tags, tool_calls
from espalier.constraints.tokens import TokenGuide
from espalier.constraints.transformers_adapter import logits_processor

__all__ = [
    "Guide",
    "Healed",
    "Limits",
    "Masks",
    "Tag",
    "TokenGuide",
    "avoids",
    "cfg",
    "choices",
    "contains",
    "explain",
    "grammars",
    "heal",
    "json",
    "json_schema",
    "logits_processor",
    "masks",
    "parse",
    "regex",
    "tags",
    "tool_calls",
]
