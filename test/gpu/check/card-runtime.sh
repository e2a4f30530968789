#!/usr/bin/env bash
# On the machine with the card: unpacks onnxruntime and its CUDA provider, looks for CUDA and cuDNN, and writes
# $GPU_CHECK/env.sh for card-check.sh. Ends with 1 and says what is missing.
set -euo pipefail
pack=$(cd "$(dirname "$0")" && pwd)
work=${GPU_CHECK:-/tmp/avocado-gpu-check}
mkdir -p "$work/onnxruntime"
python3 - "$pack" "$work/onnxruntime" <<'PYTHON'
import lzma, pathlib, shutil, sys
pack, target = map(pathlib.Path, sys.argv[1:])
for packed in pack.glob('*.xz'):
    with lzma.open(packed) as source, open(target / packed.stem, 'wb') as out:
        shutil.copyfileobj(source, out, 1 << 24)
PYTHON
cp "$pack/libonnxruntime_providers_shared.so" "$work/onnxruntime/"

# NVIDIA's libraries come with the system, or with Python packages such as torch's.
folders=$(
  python3 - <<'PYTHON'
import glob, os, site, sysconfig
roots = {sysconfig.get_paths()['purelib'], *site.getsitepackages(), site.getusersitepackages()}
try:
    import nvidia
    roots.update(os.path.dirname(path) for path in nvidia.__path__)
except ImportError:
    pass
places = [f'{root}/nvidia/**' for root in roots] + ['/usr/local/cuda*/**', '/usr/lib/x86_64-linux-gnu']
wanted = ['libcublasLt.so.13', 'libcublas.so.13', 'libcudart.so.13', 'libcurand.so.10', 'libcufft.so.12', 'libcudnn.so.9']
found = []
for name in wanted:
    for place in places:
        hits = glob.glob(f'{place}/{name}', recursive=True)
        if hits:
            found.append(os.path.dirname(hits[0]))
            break
print(':'.join(dict.fromkeys(found)))
PYTHON
)
# A container's driver.
driver=/usr/local/nvidia/lib64
cat >"$work/env.sh" <<ENV
export LD_LIBRARY_PATH=\${LD_LIBRARY_PATH:+\$LD_LIBRARY_PATH:}$folders:$driver
export AVOCADO_ONNXRUNTIME=$work/onnxruntime/libonnxruntime.so.1
ENV
. "$work/env.sh"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || true
missing=$(ldd "$work/onnxruntime/libonnxruntime_providers_cuda.so" | sed -n 's/^\s*\(\S*\) => not found/\1/p')
python3 -c "import ctypes; ctypes.CDLL('libcudnn.so.9')" 2>/dev/null || missing="$missing libcudnn.so.9"
if [ -n "${missing// /}" ]; then
  echo "missing:" $missing
  exit 1
fi
echo "complete: $folders"
