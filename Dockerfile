# Two images:  docker build --target cpu -t avocado-captioner:0.1.0-cpu .
#              docker build --target cuda -t avocado-captioner:0.1.0-cuda .
# How to run them: .github/docs/deployment.md
ARG DEBIAN_IMAGE=docker.io/library/debian:bookworm-slim
# Node 22 or newer, on the same Debian: the addon is compiled here and runs on DEBIAN_IMAGE.
ARG NODE_IMAGE=docker.io/library/node:22-bookworm-slim
# CUDA 12 with cuDNN 9: what onnxruntime-node's CUDA provider is built for.
ARG CUDA_IMAGE=docker.io/nvidia/cuda:12.9.1-cudnn-runtime-ubuntu22.04

FROM ${NODE_IMAGE} AS build
# Versions follow the base image, which is an argument.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends g++ \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json LICENSE ./
COPY native/*.cc native/*.h native/
COPY src src
RUN node src/setup/build-native.mjs --strict \
  && npm run build \
  && npm sbom --omit=dev --package-lock-only --sbom-format=cyclonedx > sbom.json \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && find node_modules/onnxruntime-node/bin -mindepth 2 -maxdepth 2 ! -name linux -exec rm -r {} + \
  && find node_modules/onnxruntime-node/bin -mindepth 3 -maxdepth 3 ! -name x64 -exec rm -r {} + \
  && find node_modules -type f -regextype egrep -regex '.*\.(map|d\.[cm]?ts|tsbuildinfo)' -delete \
  && find node_modules -type d -regextype egrep -regex '.*/(fluent-ffmpeg/(coverage|doc|tools)|@opentelemetry/[a-z-]+/build/(esm|esnext))' -prune -exec rm -r {} + \
  && rm -rf package-lock.json .npmrc tsconfig.json native/*.cc native/*.h node_modules/.cache
COPY models/avocado-nano models/avocado-nano
RUN rm -rf models/avocado-nano/recipe \
  && strip --strip-unneeded -o /node /usr/local/bin/node && /node --version

FROM ${DEBIAN_IMAGE} AS cpu
# ffmpeg brings drivers for screens and their compiler, for Intel's encoders, and files for desktops: nothing loads them.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ffmpeg tini \
  && apt-get clean \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
    /usr/share/mime/* /usr/share/X11 /usr/share/fonts /usr/share/icons /usr/share/pixmaps /usr/share/mfx \
    /usr/lib/x86_64-linux-gnu/dri /usr/lib/x86_64-linux-gnu/libLLVM-*.so* /usr/lib/x86_64-linux-gnu/libz3.so* \
    /usr/lib/x86_64-linux-gnu/mfx /usr/lib/x86_64-linux-gnu/libmfxhw64.so* /usr/lib/x86_64-linux-gnu/libmfx-tracer.so* \
  && ffmpeg -version > /dev/null && ffprobe -version > /dev/null
# Without its symbols, which only a debugger reads.
COPY --from=build /node /usr/local/bin/node
COPY --from=build /app /app
# Any user can run it, also with a read-only root: only /tmp is written, exports of a checkpoint included.
ENV NODE_ENV=production \
  HOME=/tmp \
  XDG_CACHE_HOME=/tmp \
  AVOCADO_HOST=0.0.0.0 \
  AVOCADO_ADDRESS_FILE=/tmp/avocado-address
USER 10001:0
WORKDIR /app
EXPOSE 8080
HEALTHCHECK --interval=20s --timeout=5s --start-period=600s --retries=3 \
  CMD ["node", "/app/src/setup/health-check.mjs"]
# tini passes signals on, and reaps what a killed engine leaves.
ENTRYPOINT ["/usr/bin/tini", "--", "node", "/app/src/setup/avocado.mjs"]
CMD ["serve"]
LABEL org.opencontainers.image.title="avocado-captioner" \
  org.opencontainers.image.description="Video captions of what is seen and heard: the AVoCaDO captioning server" \
  org.opencontainers.image.licenses="MIT"

# Only the CUDA libraries that the provider loads.
FROM ${CUDA_IMAGE} AS libraries
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN mkdir /cuda \
  && for name in cudart cublas cublasLt cufft curand nvrtc nvrtc-builtins cudnn cudnn_graph cudnn_ops cudnn_cnn cudnn_adv \
    cudnn_engines_precompiled cudnn_engines_runtime_compiled cudnn_heuristic; do \
    found="$(ldconfig -p | awk -v name="lib${name}.so" 'index($1, name ".") == 1 { print $NF }')"; \
    test -n "${found}" || { echo "The base image has no lib${name}.so" >&2; exit 1; }; \
    for library in ${found}; do cp --dereference "${library}" /cuda/ || exit 1; done; \
  done

# ONNX Runtime's CUDA provider, of the version of onnxruntime-node.
FROM build AS provider
WORKDIR /app/node_modules/onnxruntime-node
RUN ONNXRUNTIME_NODE_INSTALL=cuda12 node script/install.js \
  && mkdir /provider \
  && cp bin/napi-v*/linux/x64/libonnxruntime_providers_cuda.so bin/napi-v*/linux/x64/libonnxruntime_providers_shared.so /provider/

FROM cpu AS cuda
COPY --from=libraries /cuda /usr/local/lib/cuda
COPY --from=provider /provider /app/node_modules/onnxruntime-node/bin/napi-v6/linux/x64
ENV LD_LIBRARY_PATH=/usr/local/lib/cuda \
  NVIDIA_VISIBLE_DEVICES=all \
  NVIDIA_DRIVER_CAPABILITIES=compute,video,utility
CMD ["serve", "--device", "cuda"]
LABEL org.opencontainers.image.title="avocado-captioner for NVIDIA GPUs"

# The last stage is what `docker build .` makes.
FROM cpu
