#!/bin/sh
# The addon's tests under AddressSanitizer and UndefinedBehaviorSanitizer. Needs g++. Puts the ordinary build back.
set -eu
cd "$(dirname "$0")/.."
trap 'node src/setup/build-native.mjs' EXIT
CXX=g++ node src/setup/build-native.mjs --strict --sanitize
# Node never frees all at its end, so that leaks are not looked for.
LD_PRELOAD="$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)" \
ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 node node_modules/vitest/vitest.mjs run --config test/vitest.config.ts --project unit \
  test/unit/base/native.test.ts test/unit/model/runtime test/unit/features
