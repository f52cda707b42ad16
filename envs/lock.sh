#!/usr/bin/env bash
# Resolve requirements.in into requirements.lock, with the hashes of every file of every package. What is locked stays, unless
# requirements.in says otherwise or `--upgrade` is given.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/requirements.lock" "$work/lock"
source "$here/uv.sh"
uv_settings "$here/../.venv/bin/python"
"$here/../.venv/bin/uv" pip compile -q --generate-hashes --no-header --python-version 3.11 "$@" -o "$work/lock" "$here/requirements.in"
{ sed -n '/^# Locked/,/^# itself/p' "$here/requirements.lock"
  awk '/^torch==/ { skip = 1; next } /^[A-Za-z0-9]/ { skip = 0 } !skip' "$work/lock"; } > "$work/out"
mv "$work/out" "$here/requirements.lock"
