"""Guides: what a model may say. They combine (`&`, `|`, `+`, `.repeat`, `~`) and restrict a scorer: `scorer * guide`."""

from espalier.constraints.adapters.transformers import logits_processor
from espalier.constraints.agents.ltl import Plan, Segment, ltl
from espalier.constraints.cfg import grammars
from espalier.constraints.cfg.cfg import cfg
from espalier.constraints.chain import Chain
from espalier.constraints.checks.monitor import monitor
from espalier.constraints.checks.predicate import predicate
from espalier.constraints.checks.python_members import python_members
from espalier.constraints.choices import choices
from espalier.constraints.engine_memory import engine_memory
from espalier.constraints.guide import Guide, Limits
from espalier.constraints.heal import Healed, heal, healing
from espalier.constraints.on_tokens.canonical import canonical
from espalier.constraints.on_tokens.filters import ban
from espalier.constraints.regex import regex
from espalier.constraints.schema.json_schema import json, json_schema, parse
from espalier.constraints.schema.schema import Schema
from espalier.constraints.schema.tool_forms import tools_text
from espalier.constraints.selection.items import ordered, permutation, subset
from espalier.constraints.selection.substring import substring
from espalier.constraints.selection.unique import unique
from espalier.constraints.special import thinking, token
from espalier.constraints.tags import Tag, tags
from espalier.constraints.tokens import TokenGuide
from espalier.constraints.tool_call_parser import ToolCall, read_calls
from espalier.constraints.tools import tool_calls
from espalier.constraints.views.explained import explain
from espalier.constraints.views.picture import picture
from espalier.constraints.vocab_masks import Masks, fill_batch, masks
from espalier.constraints.within import within
from espalier.constraints.words import vocabulary
from espalier.constraints.words.lexical import avoids, contains, lexical
from espalier.constraints.words.phrases import absent

__all__ = [
    "Chain",
    "Guide",
    "Healed",
    "Limits",
    "Masks",
    "Plan",
    "Schema",
    "Segment",
    "Tag",
    "TokenGuide",
    "ToolCall",
    "absent",
    "avoids",
    "ban",
    "canonical",
    "cfg",
    "choices",
    "contains",
    "engine_memory",
    "explain",
    "fill_batch",
    "grammars",
    "heal",
    "healing",
    "json",
    "json_schema",
    "lexical",
    "logits_processor",
    "ltl",
    "masks",
    "monitor",
    "ordered",
    "parse",
    "permutation",
    "picture",
    "predicate",
    "python_members",
    "read_calls",
    "regex",
    "subset",
    "substring",
    "tags",
    "thinking",
    "token",
    "tool_calls",
    "tools_text",
    "unique",
    "vocabulary",
    "within",
]
