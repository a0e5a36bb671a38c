#!/bin/sh
# Everything that is claimed of a GPU, in one call of at most nine minutes, as one table:
#   examples/benchmarks/gpu.sh --dataset FOLDER_OF_CIFAR10
# On a machine without one, `gpu.sh --smoke` runs the same parts small.
here=$(dirname "$0")
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "${PYTHON:-python}" "$here/gpu.py" "$@"
