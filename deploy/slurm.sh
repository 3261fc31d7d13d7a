#!/usr/bin/env bash
# Workers of a study as a Slurm job array, one task a worker. Not run in our checks: they read it
# with shellcheck only.
#
#   textgan study my_study.toml ...        begins the study, on any machine
#   TEXTGAN_STORAGE=postgresql://USER@HOST/optuna MLFLOW_TRACKING_URI=http://HOST:5000 \
#     sbatch --array=1-64 deploy/slurm.sh my_study
#
# Started from the checkout, on a file system that all nodes share, so that a run whose node is lost
# goes on from its checkpoint. Before its time is over Slurm sends SIGTERM: the run stops after its
# step, saves, and waits in the queue for the next worker.
#SBATCH --job-name=textgan
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --output=slurm-%A-%a.log
#   For GPUs add: --gres=gpu:1
set -euo pipefail

study=${1:?usage: sbatch --array=1-N deploy/slurm.sh STUDY}
: "${TEXTGAN_STORAGE:?set it to postgresql://USER@HOST/optuna}"
: "${MLFLOW_TRACKING_URI:?set it to http://HOST:5000}"
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# exec: signals reach the worker itself, not a shell in front of it.
exec .venv/bin/textgan worker "$study"
