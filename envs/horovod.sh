#!/usr/bin/env bash
# Install Horovod, with MPI and Gloo, into the environment $1: from the cache, or built from its PyPI source.
set -euo pipefail
venv=$1
version=0.28.1
digest=92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0
cache=${BUNCHTRAIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bunchtrain}
pip=("$venv/bin/python" -m pip)
say() { printf '[env] %s\n' "$*"; }

# The wheel fits this torch, Python, Open MPI and the vector instructions of this processor alone.
key=$( { "$venv/bin/python" -c 'import sys, importlib.metadata as m; print(sys.version_info[:2], m.version("torch"))'; mpirun --version | head -n 1
  uname -m; grep -m 1 -o -w -E 'avx|fma|f16c' /proc/cpuinfo | sort -u; cat "${BASH_SOURCE[0]}"; } | sha256sum | cut -c 1-16)
folder=$cache/wheels/$key
export PATH=$venv/bin:$PATH

works() { "$venv/bin/python" -c '
import sys, horovod.torch as hvd
sys.exit(not (hvd.mpi_built() and hvd.gloo_built()))' >/dev/null 2>&1; }

if [ "$(cat "$venv/.horovod-key" 2>/dev/null)" = "$key" ] && works; then exit 0; fi
mkdir -p "$folder"
exec 8>"$folder/.lock"
flock 8
if ! compgen -G "$folder/horovod-*.whl" >/dev/null; then
  say "building Horovod $version with MPI and Gloo (about two minutes, once)"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  "${pip[@]}" download -q --no-deps --no-build-isolation --no-binary horovod -d "$work" "horovod==$version" >"$work/build.log" 2>&1 \
    || { tail -n 20 "$work/build.log" >&2; exit 1; }
  echo "$digest  $work/horovod-$version.tar.gz" | sha256sum --check --quiet
  tar -xzf "$work/horovod-$version.tar.gz" -C "$work"
  source=$work/horovod-$version
  # torch 2.13's headers want C++17.
  sed -i 's/set(CMAKE_CXX_STANDARD 14)/set(CMAKE_CXX_STANDARD 17)/' "$source/CMakeLists.txt" "$source/horovod/torch/CMakeLists.txt"
  # Without it the stall inspector of the Gloo controller never reports.
  sed -i 's/global_ranks_.reserve(size_)/global_ranks_.resize(size_)/' "$source/horovod/common/gloo/gloo_controller.cc"
  # No debug symbols: a wheel of one megabyte in place of twenty.
  sed -i 's/RelWithDebInfo/Release/' "$source/setup.py"
  export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1
  MAKEFLAGS=-j$(nproc) "${pip[@]}" wheel -q --no-deps --no-build-isolation --no-cache-dir -w "$work/wheel" "$source" \
    >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; echo "[env] error: Horovod's build failed" >&2; exit 1; }
  # Copied under another name first: a kill or a full disk leaves no half wheel that looks whole.
  for wheel in "$work"/wheel/horovod-*.whl; do
    cp "$wheel" "$folder/.half"
    mv "$folder/.half" "$folder/$(basename "$wheel")"
  done
fi
"${pip[@]}" install -q --force-reinstall --no-deps "$folder"/horovod-*.whl
works || { echo "[env] error: Horovod was installed but does not load; remove $folder and try again" >&2; exit 1; }
printf '%s\n' "$key" > "$venv/.horovod-key"
