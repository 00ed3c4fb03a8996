"""The C++ of core/ stays readable: small files, each opening with its idea."""

from __future__ import annotations

from pathlib import Path

CORE = Path(__file__).parents[1] / "core"
SOURCES = sorted(path for path in CORE.rglob("*") if path.suffix in (".cpp", ".hpp", ".inc"))
GENERATED = {"base/unicode_tables.cpp"}


def test_files_stay_small() -> None:
    """At most 300 lines a file of C++, but for the tables that a script writes."""
    assert len(SOURCES) > 90
    lines = {str(path.relative_to(CORE)): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > 300 and name not in GENERATED} == {}


def test_folders_stay_small() -> None:
    """At most 20 files a folder."""
    files = [path.parent.relative_to(CORE).as_posix() for path in SOURCES]
    assert {folder: files.count(folder) for folder in set(files) if files.count(folder) > 20} == {}


def test_files_open_with_their_idea() -> None:
    """The first line of every file is a comment that says something."""
    first = {str(path.relative_to(CORE)): path.read_text(encoding="utf-8").split("\n", 1)[0] for path in SOURCES}
    assert {name: line for name, line in first.items() if not (line.startswith("// ") and len(line) > 15)} == {}
