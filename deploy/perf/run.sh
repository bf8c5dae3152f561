#!/usr/bin/env bash
# Measures the server with JPEGs and with frames, from one request in flight to the many of CONCURRENCY.
# Leaves OUT/detect.csv and OUT/detect_frames.csv, perf_analyzer's own tables (throughput in images a second, times in
# microseconds), and the same rows in OUT/*.json with what was measured. Earlier ones are removed first.
# perf_analyzer unregisters every client's shared memory, not only its own, when it starts and when it ends: measure a
# server that nobody else uses (triton-yolo's own clients register theirs again by themselves).
set -euo pipefail

SERVER=${SERVER:-127.0.0.1:8001}        # HOST:PORT of gRPC
CONCURRENCY=${CONCURRENCY:-1:8:1}       # from:to:step
SHARED_MEMORY=${SHARED_MEMORY:-none}    # cuda, system or none
WINDOW_MS=${WINDOW_MS:-10000}           # each concurrency takes three windows, however far they differ
JPEG=${JPEG:?an encoded image}
FRAME=${FRAME:?raw RGB of FRAME_SHAPE}
FRAME_SHAPE=${FRAME_SHAPE:-960,1280,3}  # height, width, 3
CAMERAS=${CAMERAS:-8}                   # frames in one request
OUT=${OUT:?a folder for the results}
CUDART_FOLDERS=${CUDART_FOLDERS:-/usr/local /usr/lib /opt}  # where to look for CUDA's runtime

if ! [ -d "$OUT" ] || ! [ -w "$OUT" ]; then
  echo "perf: $OUT is no folder that user $(id -u) may write to: see PERF_OUT and SERVER_UID in .env" >&2
  exit 2
fi
rm -f "$OUT"/detect.{csv,json} "$OUT"/detect_frames.{csv,json}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# perf_analyzer opens libcudart.so, and images without CUDA's development files have libcudart.so.13 alone.
if [ "$SHARED_MEMORY" = cuda ] && ! python3 -c 'import ctypes; ctypes.CDLL("libcudart.so")' 2> /dev/null; then
  read -ra folders <<< "$CUDART_FOLDERS"
  library=$(find "${folders[@]}" -name 'libcudart.so.*' 2> /dev/null | sort -V | tail -n 1 || true)
  if [ -z "$library" ]; then
    echo "perf: CUDA's runtime, libcudart.so, is not here: set PERF_SHARED_MEMORY=system or none in .env" >&2
    exit 2
  fi
  mkdir "$work/lib"
  ln -s "$library" "$work/lib/libcudart.so"
  export LD_LIBRARY_PATH="$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi

measure() {  # MODEL and its own options
  local model=$1
  shift
  echo "perf: $model" >&2
  perf_analyzer -m "$model" -u "$SERVER" -i grpc --async --concurrency-range "$CONCURRENCY" --percentile=99 \
    --measurement-interval "$WINDOW_MS" --stability-percentage 999 --max-trials 3 --shared-memory "$SHARED_MEMORY" \
    -f "$work/$model.csv" "$@"
  if ! [ -s "$work/$model.csv" ]; then
    echo "perf: perf_analyzer measured nothing of $model: its reason is above" >&2
    exit 1
  fi
  # perf_analyzer's own JSON would hold the pixels of every request.
  python3 - "$work/$model.csv" "$SHARED_MEMORY" "$*" << 'EOF'
import csv, json, pathlib, sys

table, shared_memory, options = sys.argv[1:]
with open(table, newline="") as file:
    rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
model = pathlib.Path(table).stem
summary = {"model": model, "shared_memory": shared_memory, "options": options}
summary["rows"] = sorted(rows, key=lambda row: row["Concurrency"])
if not rows:
    sys.exit(f"perf: perf_analyzer measured nothing of {model}: its reason is above")
pathlib.Path(table).with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n")
EOF
  cp "$work/$model.csv" "$work/$model.json" "$OUT/"
}

# A JPEG is sent by itself, as each camera does: the server makes batches of them.
bytes=$(stat -c %s "$JPEG")
printf '{"data": [{"image": {"content": {"b64": "%s"}, "shape": [%s]}}]}' "$(base64 -w 0 "$JPEG")" "$bytes" \
  > "$work/jpeg.json"
measure detect --input-data "$work/jpeg.json"

# Frames come from all cameras in one request, which lies in one piece in shared memory.
mkdir "$work/frames"
cp "$FRAME" "$work/frames/frames"  # named after the input
measure detect_frames -b "$CAMERAS" --shape "frames:$FRAME_SHAPE" --input-data "$work/frames"
