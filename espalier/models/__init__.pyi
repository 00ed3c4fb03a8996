# The public models and where they stand; each is imported when it is asked for.
from .executors.tree_as_batch import Paths as Paths
from .ngram_model import NGram as NGram
from .table import Table as Table
from .tiny import open_tiny as open_tiny
from .two_level_model import TwoLevelTransformer as TwoLevelTransformer

__all__ = ["NGram", "Paths", "Table", "TwoLevelTransformer", "open_tiny"]
