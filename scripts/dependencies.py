"""Print the requirements of pyproject.toml, one a line: the package's own, what builds it, and with "dev" the test tools."""

import sys
import tomllib
from pathlib import Path


def requirements(want: str) -> list[str]:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    build = [need for need in extras["dev"] if need.split(">")[0] in {"scikit-build-core", "nanobind", "cmake", "ninja"}]
    if want == "run":
        return [*project["dependencies"], *extras["serve"], *build]
    dev = [need for need in extras["dev"] if not need.startswith("espalier[")]
    return [*project["dependencies"], *extras["hf"], *extras["retrieval"], *extras["serve"], *dev]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
