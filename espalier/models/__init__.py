"""Models: the exact toys, our own transformer executor, and everything that loads weights."""

from espalier.models.ngram import NGram
from espalier.models.paths import Paths
from espalier.models.table import Table

__all__ = ["NGram", "Paths", "Table"]
