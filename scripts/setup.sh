#!/usr/bin/env bash
# Creates .venv, installs what pyproject.toml asks for and builds the native modules; does nothing when all is up to date.
# usage: scripts/setup.sh [run|dev]     run = what ./run needs, dev = that plus what ./test needs
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
want="${1:-run}"
cd "$root"

python="$root/.venv/bin/python"
say() { printf 'espalier: %s\n' "$*" >&2; }

exec 9>"$root/.setup.lock"
flock 9

if [ ! -x "$python" ]; then
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && break
    candidate=""
  done
  [ -n "$candidate" ] || { say "no Python >= 3.11 found; install one or set PYTHON=/path/to/python"; exit 1; }
  say "creating .venv"
  "$candidate" -m venv .venv
fi

stamp="$(cat pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)"
have() { [ "$(cat ".venv/.$1" 2>/dev/null)" = "$stamp" ]; }
if ! have "$want" && ! { [ "$want" = run ] && have dev; }; then
  say "installing dependencies ($want); this takes a few minutes the first time"
  mapfile -t needs < <("$python" scripts/dependencies.py "$want")
  "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "${needs[@]}"
  "$python" -c 'import pathlib, sysconfig, sys; pathlib.Path(sysconfig.get_path("purelib"), "espalier.pth").write_text(sys.argv[1] + "\n")' "$root"
  echo "$stamp" >".venv/.$want"
fi

native="$(find core CMakeLists.txt -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)"
if [ "$(cat build/.native 2>/dev/null)" != "$native" ] || ! ls espalier/_*.so >/dev/null 2>&1; then
  say "building the native modules (core/)"
  mkdir -p build
  if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1; fi
  PATH="$root/.venv/bin:$PATH" cmake -S . -B build -G Ninja -USKBUILD -DPython_EXECUTABLE="$python" >build/log 2>&1 &&
    PATH="$root/.venv/bin:$PATH" cmake --build build >>build/log 2>&1 ||
    { tail -40 build/log >&2; say "the native build failed; a C++20 compiler (g++) and the Python headers are needed. Log: build/log"; exit 1; }
  echo "$native" >build/.native
fi
