#!/usr/bin/env bash
# Snakemake runs this after it has made a stage's conda environment: install the package itself, and Horovod where MPI is.
set -euo pipefail
root=${BUNCHTRAIN_ROOT:-$PWD}
python -m pip install --quiet --no-deps --editable "$root"
if python -c 'import mpi4py, torch' 2>/dev/null; then bash "$root/envs/horovod.sh" "$CONDA_PREFIX"; fi
