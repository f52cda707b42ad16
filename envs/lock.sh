#!/usr/bin/env bash
# Resolve requirements.in into requirements.lock, with the hashes of every file of every package.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/../.venv/bin/python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q pip-tools==7.6.2
"$work/venv/bin/pip-compile" -q --generate-hashes --allow-unsafe --strip-extras --no-header \
  --no-emit-find-links --no-emit-index-url -o "$work/lock" "$here/requirements.in"
{ sed -n '/^# Locked/,/^# itself/p' "$here/requirements.lock"
  awk '/^torch==/ { skip = 1; next } /^[A-Za-z0-9]/ { skip = 0 } !skip' "$work/lock"; } > "$work/out"
mv "$work/out" "$here/requirements.lock"
