"""Models: the exact toys, our own transformer executor, and everything that loads weights."""

from espalier.models.executors.paths import Paths
from espalier.models.ngram_model import NGram
from espalier.models.table import Table

__all__ = ["NGram", "Paths", "Table"]
