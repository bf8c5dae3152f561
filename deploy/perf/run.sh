#!/usr/bin/env bash
# Measures the server with JPEGs and with frames, from one request in flight to the many of CONCURRENCY.
# Leaves OUT/detect.csv and OUT/detect_frames.csv, perf_analyzer's own tables (throughput in images a second, times in
# microseconds), and the same rows in OUT/*.json with what was measured.
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

if ! [ -d "$OUT" ] || ! [ -w "$OUT" ]; then
  echo "perf: $OUT is no folder that user $(id -u) may write to: see PERF_OUT and SERVER_UID in .env" >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() {  # MODEL and its own options
  local model=$1
  shift
  echo "perf: $model" >&2
  perf_analyzer -m "$model" -u "$SERVER" -i grpc --async --concurrency-range "$CONCURRENCY" --percentile=99 \
    --measurement-interval "$WINDOW_MS" --stability-percentage 999 --max-trials 3 --shared-memory "$SHARED_MEMORY" \
    -f "$OUT/$model.csv" "$@"
  # perf_analyzer's own JSON would hold the pixels of every request.
  python3 - "$OUT/$model.csv" "$SHARED_MEMORY" "$*" << 'EOF'
import csv, json, pathlib, sys

table, shared_memory, options = sys.argv[1:]
with open(table, newline="") as file:
    rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
model = pathlib.Path(table).stem
summary = {"model": model, "shared_memory": shared_memory, "options": options}
summary["rows"] = sorted(rows, key=lambda row: row["Concurrency"])
pathlib.Path(table).with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n")
EOF
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
