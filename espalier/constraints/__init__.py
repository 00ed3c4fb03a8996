"""Guides: what a model may say. They combine (`&`, `|`, `+`, `.repeat`, `~`) and restrict a scorer: `scorer * guide`."""

from espalier.constraints import grammars
from espalier.constraints.cfg import cfg
from espalier.constraints.choices import choices
from espalier.constraints.explain import explain
from espalier.constraints.guide import Guide, Limits
from espalier.constraints.json_schema import json, json_schema, parse
from espalier.constraints.masks import Masks, masks
from espalier.constraints.regex import regex
from espalier.constraints.tokens import TokenGuide

__all__ = [
    "Guide",
    "Limits",
    "Masks",
    "TokenGuide",
    "cfg",
    "choices",
    "explain",
    "grammars",
    "json",
    "json_schema",
    "masks",
    "parse",
    "regex",
]
