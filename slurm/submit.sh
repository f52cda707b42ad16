#!/usr/bin/env bash
# Run the driver of a campaign as a Slurm job: slurm/submit.sh FILE --profile slurm/<site> ...
# Arguments are those of `bunchtrain campaign run`. What the job asks for: SBATCH_TIMELIMIT (a day), SBATCH_PARTITION,
# SBATCH_ACCOUNT; sbatch reads them. The folder's .snakemake/log/driver-<job>.log has what the driver says.
# Two minutes before its own time is over the driver ends and its job is queued again. The campaign's jobs run on
# meanwhile; the next driver waits for those of the last one, and takes what they have made.
set -euo pipefail

if [ -z "${BUNCHTRAIN_DRIVER:-}" ]; then
  [ $# -gt 0 ] || { sed -n 2,3p "${BASH_SOURCE[0]}" >&2; exit 2; }
  command -v bunchtrain >/dev/null || { echo "error: bunchtrain is not on the path; mend: export PATH=\$PWD/.venv/bin:\$PATH" >&2; exit 2; }
  command -v sbatch >/dev/null || { echo "error: there is no sbatch here; mend: run this on a login node" >&2; exit 2; }
  mkdir -p .snakemake/log
  export BUNCHTRAIN_DRIVER=1 SBATCH_TIMELIMIT="${SBATCH_TIMELIMIT:-1440}"
  exec sbatch --job-name=campaign --ntasks=1 --cpus-per-task=1 --mem=2000 --requeue --signal=B:USR1@120 \
    --open-mode=append --output=.snakemake/log/driver-%j.log -- "${BASH_SOURCE[0]}" "$@"
fi

again() {
  echo "the time of this driver is over; its job $SLURM_JOB_ID is queued again"
  # Snakemake would wait for all jobs on SIGTERM and cancel them on SIGINT.
  kill -KILL "$driver" 2>/dev/null || true
  exec scontrol requeue "$SLURM_JOB_ID"
}

unset BUNCHTRAIN_DRIVER
bunchtrain campaign run "$@" &
driver=$!
trap again USR1
wait "$driver"
