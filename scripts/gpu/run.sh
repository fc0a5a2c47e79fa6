#!/usr/bin/env bash
# wick on a machine with a GPU, made by `npm run pack:gpu`. It needs bash and a python3 with torch, whose CUDA libraries are used;
# Node, Bun, cargo and a network are not needed.
#
#   run.sh setup             unpacks, once; the other commands do so by themselves
#   run.sh test [NAME…]      the tests of the GPU: all, or the named stages and files
#   run.sh bench [OPTIONS]   the benchmark: `--help` lists the options; `--torch python3` runs PyTorch's side too
#   run.sh example NAME [OPTIONS]   an example, such as `mnist --device cuda`
#   run.sh wick [ARGS]       the command-line tool, such as `doctor`
#   run.sh exec COMMAND…     any command in the unpacked tree, with its environment; `bun` is on the PATH
#
# Everything runs in the unpacked tree, so paths in options should be absolute. Environment: WICK_GPU_HOME is where it is unpacked
# (default: wick-gpu in the temporary folder); WICK_CUDA_PATH and WICK_CACHE_DIR are used if they are set.
set -euo pipefail

pack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${WICK_GPU_HOME:-${TMPDIR:-/tmp}/wick-gpu}

# The folders of torch's CUDA libraries, without the seconds that importing torch takes.
libraries() {
  python3 - <<'PYTHON'
import importlib.util
from pathlib import Path

torch = importlib.util.find_spec("torch")
if torch is not None:
    print(":".join(str(path) for path in sorted(Path(torch.origin).parent.parent.glob("nvidia/*/lib"))))
PYTHON
}

usage() {
  sed -n '/^#   run.sh/s/^#   //p' "${BASH_SOURCE[0]}"
}

command=${1:-help}
[[ $# -eq 0 ]] || shift
case $command in
  setup | test | bench | example | wick | exec) ;;
  help | --help | -h) usage; exit 0 ;;
  *) echo "run.sh: unknown command '$command'" >&2; usage >&2; exit 2 ;;
esac

python3 "$pack/unpack.py" "$pack" "$home"
[[ $command != setup ]] || exit 0

export WICK_CUDA_PATH=${WICK_CUDA_PATH:-$(libraries)}
export WICK_CACHE_DIR=${WICK_CACHE_DIR:-$home/cache}
export WICK_DATA=$home/mnist
export WICK_GOLDEN=$home/tree/test/golden
export WICK_GPU_PACK=$pack
export PATH=$home/bun:$PATH
export PYTHONPATH=$home/tree/python${PYTHONPATH:+:$PYTHONPATH}
cd "$home/tree"

case $command in
  test) exec bun scripts/test-gpu.mjs "$@" ;;
  bench) exec bun bench/run.ts "$@" ;;
  example) name=${1:?the name of an example}; shift; exec bun "examples/$name.ts" "$@" ;;
  wick) exec bun ts/cli/wick.ts "$@" ;;
  exec) exec "$@" ;;
esac
