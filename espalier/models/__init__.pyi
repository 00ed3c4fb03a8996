# The public models and where they stand; each is imported when it is asked for.
from .executors.paths import Paths as Paths
from .ngram_model import NGram as NGram
from .table import Table as Table

__all__ = ["NGram", "Paths", "Table"]
