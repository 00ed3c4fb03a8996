"""The wheel works outside the tree: built, installed beside nothing of the source, and used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import sys, espalier as es
from pathlib import Path
assert Path(es.__file__).is_relative_to(sys.argv[1]), es.__file__
import tokenizers
from espalier.text.tokenizer import Tokenizer
alphabet = {c: i for i, c in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}
backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=alphabet, merges=[]))
backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
backend.decoder = tokenizers.decoders.ByteLevel()
backend.add_special_tokens(["<end>"])
tokenizer = Tokenizer(backend, {"eos_token": "<end>"})
model = es.models.NGram([[*tokenizer.encode("abab ab"), *tokenizer.vocab.end]], tokenizer.vocab.size, 4)
lm = es.LanguageModel(model, tokenizer)
print(lm.generate(es.raw("ab"), regex="ab|b a"), es.grammars.sql, sorted(es.__all__)[0])
"""


def test_a_built_wheel_generates_without_the_source(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels, room = tmp_path / "wheels", tmp_path / "site"
    built = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", f"-Cbuild-dir={ROOT / 'build'}", "-w", str(wheels)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = subprocess.run(built, capture_output=True, text=True, env={**os.environ, "PATH": path}, timeout=900)
    assert made.returncode == 0, made.stderr[-2000:]
    [wheel] = wheels.glob("espalier-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(room), str(wheel)], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(room)}
    command = [sys.executable, "-c", PROGRAM, str(room)]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.startswith(("ab ", "b a "))


def test_a_users_file_is_typed(tmp_path: Path) -> None:
    kinds = {
        "lm.generate('x', schema=Person)": "user.Person",
        "lm.generate('x', schema=Person, n=2)": "list[user.Person]",
        "lm.generate('x', max_tokens=5)": "espalier.requests.completion.Completion",
    }
    text = "import dataclasses\nimport espalier as es\n@dataclasses.dataclass\nclass Person:\n    name: str\nlm = es.load()\n"
    user = tmp_path / "user.py"
    user.write_text(text + "".join(f"reveal_type({line})\n" for line in kinds))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(user)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    told = [line.split('"')[1].replace("builtins.", "") for line in said.stdout.splitlines() if "Revealed" in line]
    assert told == list(kinds.values()), said.stdout
    assert said.returncode == 0, said.stdout
