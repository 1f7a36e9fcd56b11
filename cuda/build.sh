#!/usr/bin/env bash
# Builds libproofmill_cuda.
#
#   cuda/build.sh              the library for NVIDIA cards: libproofmill_cuda.so
#   cuda/build.sh host         the same sources on a simulated card, for tests: libproofmill_cuda_host.so (needs only g++)
#   cuda/build.sh asan         the simulated card with AddressSanitizer and UndefinedBehaviorSanitizer
#   cuda/build.sh toolkit      fetches NVIDIA's compiler (CUDA 13.0, 100 MB) from PyPI, when no CUDA toolkit is installed
#
# OUT    where the results go                                         (target/cuda)
# NVCC   the compiler, of CUDA 12 or newer                            ($CUDA_HOME/bin/nvcc, nvcc of PATH, the one that `toolkit` fetched)
# ARCHS  architectures that get machine code; the last one PTX too   ("80 86 89 90")
# JOBS   compilers at once                                            (number of cores)
#
# Prints registers and spills of every kernel and fails when a kernel spills. NVIDIA's compiler and runtime are under NVIDIA's licence and are
# fetched, never stored here; the runtime is linked into the library as that licence allows.
set -euo pipefail
cd "$(dirname "$0")"
OUT=$(mkdir -p "${OUT:-../target/cuda}" && cd "${OUT:-../target/cuda}" && pwd)
ARCHS=${ARCHS:-80 86 89 90}
JOBS=${JOBS:-$(nproc)}
UNITS="msm_g2 msm_g1 ntt sparse msm groth16 probe api"
toolkit="$OUT/toolkit"

die() { echo "cuda/build.sh: $*" >&2; exit 1; }

fetch_toolkit() {
  [ -x "$toolkit/nvidia/cu13/bin/nvcc" ] && return
  command -v python3 >/dev/null || die "python3 with pip is needed to fetch the CUDA compiler; or install a CUDA toolkit and set NVCC"
  local wheels
  wheels=$(mktemp -d)
  # The compiler's own requirements have no versions, so all parts are named.
  python3 -m pip download -q --no-deps --disable-pip-version-check -d "$wheels" nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
    nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 ||
    die "the CUDA compiler could not be fetched from PyPI; install a CUDA toolkit and set NVCC"
  rm -rf "$toolkit.part" && mkdir -p "$toolkit.part"
  for wheel in "$wheels"/*.whl; do python3 -m zipfile -e "$wheel" "$toolkit.part"; done
  chmod -R a+rX "$toolkit.part" && chmod a+x "$toolkit.part"/nvidia/cu13/bin/* "$toolkit.part"/nvidia/cu13/nvvm/bin/*
  ln -s lib "$toolkit.part/nvidia/cu13/lib64"
  rm -rf "$toolkit" "$wheels" && mv "$toolkit.part" "$toolkit"
}

# $1: where, $2: extra flags
build_host() {
  command -v "${CXX:-g++}" >/dev/null || die "g++ is missing; install a C++17 compiler"
  local work
  work=$(mktemp -d)
  # shellcheck disable=SC2086
  { for unit in $UNITS; do printf '%s\0' "$unit.cu"; done; printf 'runtime_host.cpp\0'; } |
    xargs -0 -P "$JOBS" -I{} "${CXX:-g++}" -x c++ -std=c++17 -O2 -g -Wall -Wextra -Werror -Wno-unknown-pragmas -DPM_HOST -fPIC $2 -c kernels/{} -o "$work/{}.o"
  # shellcheck disable=SC2086
  "${CXX:-g++}" -shared -pthread $2 "$work"/*.o -o "$1.part"
  rm -r "$work"
  mv "$1.part" "$1"
  echo "$1"
}

build_cards() {
  local nvcc="${NVCC:-}"
  [ -n "$nvcc" ] || { [ -n "${CUDA_HOME:-}" ] && nvcc="$CUDA_HOME/bin/nvcc"; }
  [ -n "$nvcc" ] || nvcc=$(command -v nvcc || true)
  [ -n "$nvcc" ] || nvcc="$toolkit/nvidia/cu13/bin/nvcc"
  [ -x "$nvcc" ] || die "there is no nvcc; run 'cuda/build.sh toolkit' or set NVCC"
  local release
  release=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
  [ "${release:-0}" -ge 12 ] || die "$nvcc is of CUDA $release; CUDA 12 or newer is needed"
  local codes="" last=""
  for arch in $ARCHS; do codes="$codes -gencode arch=compute_$arch,code=sm_$arch"; last=$arch; done
  codes="$codes -gencode arch=compute_$last,code=compute_$last"
  local inputs
  inputs=$(cat build.sh include/* kernels/* | cksum; echo "$codes $nvcc")
  if [ -f "$OUT/libproofmill_cuda.so" ] && [ "$(cat "$OUT/cards.inputs" 2>/dev/null)" = "$inputs" ]; then
    report
    echo "$OUT/libproofmill_cuda.so (up to date)"
    return
  fi
  rm -f "$OUT/cards.inputs"
  local work
  work=$(mktemp -d)
  # shellcheck disable=SC2086
  for unit in $UNITS runtime_cuda; do printf '%s\0' "$unit"; done |
    xargs -0 -P "$JOBS" -I{} sh -c '"$0" -ccbin "${CXX:-g++}" -std=c++17 -O3 --expt-relaxed-constexpr -Werror all-warnings -Xcompiler -fPIC,-Wall,-Wno-unknown-pragmas -Xptxas -v -Xfatbin -compress-all "$@" -c kernels/{}.cu -o '"$work"'/{}.o >'"$work"'/{}.log 2>&1 || { cat '"$work"'/{}.log >&2; exit 255; }' "$nvcc" $codes
  cat "$work"/*.log >"$OUT/ptxas.log"
  "$nvcc" -ccbin "${CXX:-g++}" -shared -cudart static "$work"/*.o -o "$OUT/libproofmill_cuda.so.part"
  rm -r "$work"
  mv "$OUT/libproofmill_cuda.so.part" "$OUT/libproofmill_cuda.so"
  report
  echo "$inputs" >"$OUT/cards.inputs"
  echo "$OUT/libproofmill_cuda.so"
}

# One line per kernel: for each architecture its registers, stack and spilled bytes.
report() {
  c++filt <"$OUT/ptxas.log" | awk '
    /Compiling entry function/ {
      name = $0; sub(/.*entry function \047/, "", name); sub(/\047 for .*/, "", name); arch = $0; sub(/.* for \047/, "", arch); sub(/\047.*/, "", arch)
      ours = name ~ /pm::(item|block)_entry/
      sub(/^void pm::(item|block)_entry</, "", name); sub(/ ?>\(.*/, "", name); gsub(/pm::|\(anonymous namespace\)::|\(FqParams\)/, "", name); gsub(/Field<FqParams ?>/, "Fq", name)
      kernel = name
    }
    /bytes stack frame/ { if (ours) { stack[kernel, arch] += $1; spill[kernel, arch] += $5 + $9; total += $5 + $9; names[kernel] = 1; archs[arch] = 1 } }
    / Used [0-9]+ registers/ { if (ours) { regs = $0; sub(/.*Used /, "", regs); sub(/ registers.*/, "", regs); used[kernel, arch] = regs } }
    END {
      n = asorti_(archs, order)
      printf "%-28s", "kernel (registers/spilled)"; for (i = 1; i <= n; i++) printf " %10s", order[i]; print ""
      m = asorti_(names, sorted)
      for (k = 1; k <= m; k++) { printf "%-28s", sorted[k]; for (i = 1; i <= n; i++) printf " %10s", used[sorted[k], order[i]] "/" spill[sorted[k], order[i]]; print "" }
      if (m == 0) { print "the compiler reported no kernel" > "/dev/stderr"; exit 1 }
      if (total > 0) { print "kernels spill " total " bytes" > "/dev/stderr"; exit 1 }
    }
    function asorti_(from, to,   key, count, i, j, t) {
      count = 0; for (key in from) to[++count] = key
      for (i = 2; i <= count; i++) for (j = i; j > 1 && to[j] < to[j - 1]; j--) { t = to[j]; to[j] = to[j - 1]; to[j - 1] = t }
      return count
    }'
}

case "${1:-cards}" in
  host) build_host "$OUT/libproofmill_cuda_host.so" "" ;;
  asan) build_host "$OUT/libproofmill_cuda_asan.so" "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" ;;
  toolkit) fetch_toolkit ;;
  cards) build_cards ;;
  *) die "unknown target '$1'; see the head of this file" ;;
esac
