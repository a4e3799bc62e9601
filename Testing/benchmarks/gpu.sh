#!/usr/bin/env bash
# What only a machine with CUDA can show, in one go of at most 8 minutes. It has not run on one yet.
#
#   bash Testing/benchmarks/gpu.sh OUT [WHEELS]
#
# `python` must have torch with CUDA and this engine with the extras train and bench, and onnxruntime-gpu in the place of
# onnxruntime: from WHEELS, a folder of wheels, without a network; else they must be there. OUT gets bench/benchmark.md
# (tables and goals), training.md and a log a part; a part that fails is named, and the others go on.
# DEVICE=cpu QUICK=1 tries the script itself.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
device=${DEVICE:-cuda}
failed=()
[ -z "${2:-}" ] || python -m pip install -q --no-index --find-links "$2" -e ".[train,bench]" onnxruntime-gpu || exit 3

part() { # name, seconds at most, command
  local name=$1 limit=$2
  shift 2
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  local code=$?
  [ $code = 0 ] || { failed+=("$name"); echo "$name: ended with $code, see $out/$name.log" >&2; }
}

command -v nvidia-smi >/dev/null && nvidia-smi -L | tee "$out/machine.txt"
part bench 240 python -m unoise_engine benchmark --device "$device" --repeats 3 --overwrite -o "$out/bench" \
  ${QUICK:+--quick} $([ -n "${QUICK:-}" ] || echo --paper)
part phantoms 60 python -m unoise_engine phantom "$out/data" --count 12 --size "$([ -n "${QUICK:-}" ] && echo 64 || echo 256)" --slices 16 --seed 1
part training 120 python -m Testing.benchmarks.gpu_training "$out/data" "$out" --device "$device" ${QUICK:+--quick}
# The published training at its own size, as far as a minute gets; the same command goes on later.
timeout 60 python -m unoise_engine reproduce "$out/reproduce" --scale paper --no-planted --device "$device" >"$out/reproduce.log" 2>&1
code=$?
[ $code = 0 ] || [ $code = 124 ] || failed+=(reproduce)
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
