#!/usr/bin/env bash
# Everything that only a card can tell, in stages that each end within nine minutes and can be run again: what a stage has finished, it skips.
#
#   benches/gpu/run.sh keys                development keys of s14m2, s60m4, s252m4, s1020m4 (CIRCUITS chooses)
#   benches/gpu/run.sh check               every kernel against the processor; 200 repeats of sums full of 0 and 1, which show races
#   benches/gpu/run.sh sanitize            compute-sanitizer memcheck and racecheck on small sizes (where it is installed)
#   benches/gpu/run.sh bench kernels LOG   MSM and NTT of 2^LOG; without LOG: 10 to 24, one after the other
#   benches/gpu/run.sh bench CIRCUIT       whole proofs, e.g. bench s60m4
#   benches/gpu/run.sh table | plot        what was measured so far
#
# Needs bash and built binaries: `benches/gpu/run.sh pack` makes them (Rust, and nvcc or python3 with pip), 30 MB in target/gpu, which can be carried to
# another machine. BIN: where they are. OUT: where results go (target/gpu/results); copy the .jsonl files and plot.svg to benches/results/ with the
# date and the card in their names. Prints a short table last.
set -euo pipefail
cd "$(dirname "$0")/../.."
BIN=${BIN:-target/gpu}
OUT=${OUT:-$BIN/results}
KEYS=${KEYS:-$BIN/keys}
CIRCUITS=${CIRCUITS:-s14m2,s60m4,s252m4,s1020m4}
REPEATS=${REPEATS:-200}
ROUNDS=${ROUNDS:-9}
# Seconds after which a stage starts nothing new.
BUDGET=${BUDGET:-420}

die() { echo "benches/gpu/run.sh: $*" >&2; exit 1; }
bench() { "$BIN/bench-gpu" --library "${PROOFMILL_CUDA_LIBRARY:-$BIN}" "$@"; }

# Runs a part unless its result is there. $1: name of the result, rest: the command. What fails leaves no result.
part() {
  local result="$OUT/$1.jsonl"
  shift
  [ -s "$result" ] && return
  if [ "$SECONDS" -ge "$BUDGET" ]; then
    echo "out of time; run the same stage again to go on" >&2
    return 1
  fi
  if "$@" >"$result.part"; then
    mv "$result.part" "$result"
  else
    die "failed: $*"
  fi
}

finish() {
  date -u +'%Y-%m-%d %H:%M UTC'
  if compgen -G "$OUT/*.jsonl" >/dev/null; then
    "$BIN/bench-gpu" table "$OUT"/*.jsonl
    "$BIN/bench-gpu" plot "$OUT"/*.jsonl >"$OUT/plot.svg" 2>/dev/null || rm -f "$OUT/plot.svg"
  fi
}

pack() {
  local target="${CARGO_TARGET_DIR:-target}"
  mkdir -p "$BIN"
  cargo build --release --locked -p proofmill-benches --bin bench-gpu
  cp "$target/release/bench-gpu" "$BIN/"
  strip "$BIN/bench-gpu" 2>/dev/null || true
  command -v "${NVCC:-nvcc}" >/dev/null || OUT="$PWD/target/cuda" cuda/build.sh toolkit
  OUT="$PWD/target/cuda" cuda/build.sh cards
  cp target/cuda/libproofmill_cuda.so "$BIN/"
  strip "$BIN/libproofmill_cuda.so" 2>/dev/null || true
  local card
  card=$(cargo test --release --locked -p proofmill-cuda --test card --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/card-[^"]*\)".*/\1/p' | tail -1)
  [ -n "$card" ] || die "the tests of the cuda crate were not built"
  cp "$card" "$BIN/card-tests"
  strip "$BIN/card-tests" 2>/dev/null || true
  ls -l "$BIN"
}

check() {
  [ -x "$BIN/card-tests" ] || die "$BIN/card-tests is missing; run 'benches/gpu/run.sh pack'"
  part check-tests sh -c 'PROOFMILL_CUDA_LIBRARY="$1" "$2" --test-threads 4 >&2 && echo "{\"work\":\"check\",\"who\":\"tests\",\"passed\":true}"' \
    check "${PROOFMILL_CUDA_LIBRARY:-$BIN}" "$BIN/card-tests"
  part check bench check --repeats "$REPEATS" --max-log "${MAX_LOG:-16}"
}

sanitize() {
  local tool
  tool=$(command -v compute-sanitizer || true)
  [ -n "$tool" ] || die "compute-sanitizer is not installed (CUDA toolkit, or the wheel nvidia-cuda-sanitizer-api)"
  for kind in memcheck racecheck initcheck; do
    part "sanitize-$kind" sh -c '"$1" --tool "$2" --error-exitcode 9 "$3" --library "$4" check --repeats 1 --max-log 8 >&2 && echo "{\"work\":\"check\",\"who\":\"$2\",\"passed\":true}"' \
      sanitize "$tool" "$kind" "$BIN/bench-gpu" "${PROOFMILL_CUDA_LIBRARY:-$BIN}"
  done
}

kernels() {
  local first="${1:-10}" last="${1:-24}" log
  for ((log = first; log <= last; log++)); do
    part "kernels-$(printf %02d "$log")" bench kernels --min-log "$log" --max-log "$log" --rounds "$ROUNDS" || return
  done
}

[ "${1:-}" = pack ] || [ -x "$BIN/bench-gpu" ] || die "$BIN/bench-gpu is missing; run 'benches/gpu/run.sh pack' on a machine with Rust"
mkdir -p "$OUT"
case "${1:-}" in
  check | sanitize | bench) RUST_BACKTRACE=0 bench info >/dev/null || die "there is no card to use, see above" ;;
esac
case "${1:-}" in
  pack) pack; exit ;;
  keys) for circuit in ${CIRCUITS//,/ }; do bench keys --dir "$KEYS" --circuits "$circuit" >>"$OUT/keys.jsonl"; done ;;
  check) check ;;
  sanitize) sanitize ;;
  bench)
    case "${2:-}" in
      kernels) kernels "${3:-}" || exit 75 ;;
      s*) part "prove-$2" bench prove --dir "$KEYS" --circuit "$2" --rounds "$ROUNDS" ;;
      *) die "bench kernels [LOG], or bench CIRCUIT" ;;
    esac ;;
  table | plot) ;;
  *) die "which stage? keys, check, sanitize, bench, table, plot, pack; see the head of this file" ;;
esac
finish
