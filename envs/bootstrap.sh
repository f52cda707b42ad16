#!/usr/bin/env bash
# Make the environment: system packages, .venv from the lock, Horovod with MPI and Gloo. Rerunning is a no-op in a moment.
#   PYTHON             interpreter to use (default: python3.11, else python3 if it is 3.11)
#   BUNCHTRAIN_CACHE   where packages and built wheels are kept (default: bunchtrain in the user's cache folder)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
venv=$root/.venv
say() { printf '[env] %s\n' "$*"; }
fail() { printf '[env] error: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3; do
    [ -n "$candidate" ] || continue
    # The interpreter behind it: .venv itself may be first on PATH, and it may have to be made anew.
    "$candidate" -c 'import sys; sys.exit(1) if sys.version_info[:2] != (3, 11) else print(sys._base_executable)' 2>/dev/null && return
  done
  fail "Python 3.11 is needed. Debian 12: apt-get install python3.11 python3.11-venv; or name one: make env PYTHON=/path/to/python3.11"
}

missing_packages() { # what a tool or a header shows to be missing, whoever installed it; $1: the interpreter
  "$1" -c 'import ensurepip, venv' 2>/dev/null || echo python3.11-venv
  "$1" -c 'import pathlib, sysconfig, sys; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' \
    || echo python3.11-dev
  command -v g++ >/dev/null && command -v make >/dev/null || echo build-essential
  command -v cmake >/dev/null || echo cmake
  command -v mpicxx >/dev/null || echo libopenmpi-dev
  command -v mpirun >/dev/null || echo openmpi-bin
  command -v yosys >/dev/null || echo yosys
  command -v iverilog >/dev/null || echo iverilog
  command -v ghdl >/dev/null || echo ghdl
}

install_system_packages() {
  local missing as_root=()
  mapfile -t missing < <(missing_packages "$1")
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then fail "missing: ${missing[*]} (Debian's names; install them with this system's package manager)"; fi
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "missing system packages, and no right to install them. Ask for: apt-get install ${missing[*]}"
    as_root=(sudo -n)
  fi
  say "installing system packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The stamp names this place too: an environment that was copied or moved belongs to another checkout.
stamp() { { echo "$root"; cat "$here/requirements.lock" "$here"/*.sh "$root/pyproject.toml" <("$1" -V); } | sha256sum | cut -d' ' -f1; }

python=$(find_python)
wanted=$(stamp "$python")
if [ -x "$venv/bin/bunchtrain" ] && [ "$(cat "$venv/.bunchtrain-stamp" 2>/dev/null)" = "$wanted" ] && [ -z "$(missing_packages "$python")" ]; then
  say "ready"
  exit 0
fi

started=$SECONDS
install_system_packages "$python"
exec 9>"$root/.venv.lock"
flock 9
usable() { # this very folder's environment, of the right Python, with a pip that runs
  [ "$(cat "$venv/.bunchtrain-root" 2>/dev/null)" = "$root" ] \
    && "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
    && "$venv/bin/python" -m pip --version >/dev/null 2>&1
}
if ! usable; then
  rm -rf "$venv"
  "$python" -m venv "$venv" || { rm -rf "$venv"; fail "python -m venv failed. Debian: apt-get install python3.11-venv"; }
  printf '%s\n' "$root" > "$venv/.bunchtrain-root"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=("$venv/bin/python" -m pip)
# One package of the lock, its version and hashes; the rest at the versions of the lock.
sed -n '/^uv==/,/[^\\]$/p' "$here/requirements.lock" > "$venv/uv.txt"
sed -n 's/^\([A-Za-z0-9_.-]*==[^ ]*\).*/\1/p' "$here/requirements.lock" > "$venv/constraints.txt"
"${pip[@]}" install -q --require-hashes -r "$venv/uv.txt"
source "$here/uv.sh"
uv_settings "$venv/bin/python"
install() {
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" "$@" && return
  say "uv could not; pip tries"
  "${pip[@]}" install -q --use-pep517 "$@"
}
if ! "$venv/bin/python" -c 'import torch, sys; sys.exit(torch.__version__.split("+")[0] != "2.13.0")' 2>/dev/null; then
  say "installing torch 2.13.0"
  # Its dependencies at the versions of the lock, without hashes here; the next step checks them.
  install -c "$venv/constraints.txt" torch==2.13.0
fi
say "installing the locked packages"
install --no-deps --require-hashes -r "$here/requirements.lock"
bash "$here/horovod.sh" "$venv"
install --no-deps --no-build-isolation -e "$root"
misfits=$("$venv/bin/uv" pip check --python "$venv/bin/python" 2>&1) || fail "packages do not fit together: $misfits"
# Every job is a process of its own: where Python may not write bytecode, or many start at once, imports took three times
# as long. Some packages hold templates that are no Python; those are left.
"$venv/bin/python" -m compileall -q -j 0 "$venv/lib" >/dev/null 2>&1 || true
printf '%s\n' "$wanted" > "$venv/.bunchtrain-stamp"
say "ready after $((SECONDS - started)) s"
