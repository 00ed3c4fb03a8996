#!/usr/bin/env bash
# Real clients against a real server: an environment for each, the same scenarios, a table in Markdown.
# usage: scripts/clients.sh [NAME…]     names are those of the list below; CLIENTS_DIR keeps the environments
set -uo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-$root/.venv/bin/python}"
work="${CLIENTS_DIR:-$(mktemp -d)}"
clients=( # name | scenarios | packages
  "openai-2|openai|openai>=2,<3"
  "openai-3.3|openai|openai>=3.3,<3.4"
  "openai|openai|openai"
  "litellm|litellm|litellm"
  "langchain-openai|langchain|langchain-openai"
  "instructor|instructor|instructor"
  "pydantic-ai|pydantic_ai|pydantic-ai-slim[openai]"
  "openai-agents|openai_agents|openai-agents"
  "llama-index|llama_index|llama-index-llms-openai-like"
  "outlines|outlines|outlines openai"
  "node-openai|node openai|openai"
  "node-ai|node ai|ai @ai-sdk/openai-compatible"
)
wanted=" $* "
cd "$root" || exit 1
"$python" -m espalier serve --port 0 --name served --api-key secret > "$work/address" 2> "$work/server.log" &
server=$!
finish() { kill "$server" 2> /dev/null; [ -n "${CLIENTS_DIR:-}" ] || rm -rf "$work"; }
trap finish EXIT
for _ in $(seq 300); do
  address="$(head -n 1 "$work/address" 2> /dev/null)"
  [ -n "$address" ] && curl -sf -o /dev/null "$address/ready" && break
  kill -0 "$server" 2> /dev/null || { cat "$work/server.log"; exit 1; }
  sleep 1
done
failed=0
echo "| client | version | scenarios |"
echo "|---|---|---|"
for line in "${clients[@]}"; do
  IFS='|' read -r name scenarios packages <<< "$line"
  if [ "$wanted" != "  " ] && [[ "$wanted" != *" $name "* ]]; then continue; fi
  place="$work/$name"
  mkdir -p "$place"
  if [[ "$scenarios" == node* ]]; then
    cp "$root/scripts/client_scenarios.mjs" "$place/"
    # shellcheck disable=SC2086
    (cd "$place" && npm install --silent --no-fund --no-audit --prefix "$place" $packages) > "$place/install.log" 2>&1 ||
      { echo "| $name | | could not be installed |"; continue; }
    first="${packages%% *}"
    version="$(node -p "require('$place/node_modules/$first/package.json').version")"
    found="$(cd "$place" && timeout 600 node client_scenarios.mjs "${scenarios#node }" "$address/v1" secret 2> "$place/errors.log")"
  else
    # shellcheck disable=SC2086
    { [ -x "$place/bin/python" ] || "$python" -m venv "$place"; } && IFS=' ' read -ra list <<< "$packages" &&
      "$place/bin/python" -m pip install -q "${list[@]}" pydantic > "$place/install.log" 2>&1 ||
      { echo "| $name | | could not be installed |"; continue; }
    version="$("$place/bin/python" -c 'import sys; from importlib.metadata import version; print(version(sys.argv[1]))' "$(sed 's/[<>=\[ ].*//' <<< "$packages")")"
    found="$(timeout 600 "$place/bin/python" "$root/scripts/client_scenarios.py" "$scenarios" "$address/v1" secret 2> "$place/errors.log")"
  fi
  [ $? = 0 ] || failed=1
  [ -n "$found" ] || found="nothing ran: $(tail -n 1 "$place/errors.log" | cut -c 1-200)"
  echo "| $name | $version | $(sed 's/|/\\|/g' <<< "$found" | paste -sd ';' | sed 's/;/; /g') |"
  [ -n "${CLIENTS_DIR:-}" ] || rm -rf "$place"
done
exit "$failed"
