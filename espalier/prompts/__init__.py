"""Methods whose moves are prompts, on any model with `complete(prompt, **options) -> str`."""

from espalier.prompts.graphs import skeleton, skeleton_graph
from espalier.prompts.pipelines import cheatsheet, edu_plan, sketch, terminology
from espalier.prompts.plans import Action, dfsdt, plan_search, spar
from espalier.prompts.text_model import Endpoint, Local, TextModel

__all__ = [
    "Action",
    "Endpoint",
    "Local",
    "TextModel",
    "cheatsheet",
    "dfsdt",
    "edu_plan",
    "plan_search",
    "skeleton",
    "skeleton_graph",
    "sketch",
    "spar",
    "terminology",
]
