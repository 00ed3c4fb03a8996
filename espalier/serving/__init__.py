"""Serving: an engine that is left on, and an OpenAI-compatible server over it (`espalier[serve]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from espalier.serving.asynchronous import AsyncLanguageModel
from espalier.serving.engine import Engine
from espalier.serving.limits import Limits
from espalier.serving.observer import Watch
from espalier.serving.overload import NotReady, Overloaded
from espalier.serving.request_handle import Done, Handle, Text
from espalier.serving.settings import Settings

if TYPE_CHECKING:
    from espalier.serving.http.app import app

__all__ = [
    "AsyncLanguageModel",
    "Done",
    "Engine",
    "Handle",
    "Limits",
    "NotReady",
    "Overloaded",
    "Settings",
    "Text",
    "Watch",
    "app",
]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'espalier.serving' has no attribute {name!r}")
    try:
        from espalier.serving.http.app import app
    except ModuleNotFoundError as error:
        from espalier.errors import LoadError

        raise LoadError(f"the server needs {error.name}; install it with: pip install 'espalier[serve]'") from error
    return app
