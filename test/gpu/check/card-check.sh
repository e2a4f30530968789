#!/usr/bin/env bash
# On the machine with the card, after card-runtime.sh: unpacks Node and the program and runs the check. One JSON under
# $OUT (default: here). SECONDS_LEFT: how long it may take, default 540. More arguments go to the program.
set -euo pipefail
pack=$(cd "$(dirname "$0")" && pwd)
work=${GPU_CHECK:-/tmp/avocado-gpu-check}
out=$(mkdir -p "${OUT:-.}" && cd "${OUT:-.}" && pwd)
. "$work/env.sh"
mkdir -p "$work/program"
python3 - "$pack" "$work" <<'PYTHON'
import lzma, os, pathlib, shutil, sys, tarfile
pack, work = map(pathlib.Path, sys.argv[1:])
with lzma.open(pack / 'node.xz') as source, open(work / 'node', 'wb') as out:
    shutil.copyfileobj(source, out, 1 << 24)
os.chmod(work / 'node', 0o755)
with tarfile.open(pack / 'program.tar.xz', 'r:xz') as program:
    program.extractall(work / 'program')
PYTHON
exec "$work/node" "$work/program/test/gpu/check/run-check.js" --out "$out/gpu-check.json" \
  --commit "$(cat "$pack/commit")" --seconds "${SECONDS_LEFT:-540}" "$@"
