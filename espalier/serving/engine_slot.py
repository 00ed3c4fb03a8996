"""Where a server looks for its engine: it listens before the model is loaded."""

from __future__ import annotations

from espalier.serving.engine import Engine
from espalier.serving.overload import NotReady


class Place:
    """An engine, or the place where one will be.

    >>> Place().ready
    False
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.found = engine
        self.leaving = False  # the server ends: no new requests

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return self.found is not None and self.found.taking and not self.leaving

    @property
    def engine(self) -> Engine:
        """The engine. Raises `NotReady` while it loads, and when it ends."""
        if self.found is None:
            raise NotReady("the model is being loaded; ask again in a few seconds")
        if not self.ready:
            raise NotReady("the server is shutting down; ask another one, or later")
        return self.found
