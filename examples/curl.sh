#!/usr/bin/env bash
# Detect on a JPEG or PNG over HTTP with curl and jq:  examples/curl.sh board.jpg [http://127.0.0.1:8000]
# Prints a line for each detection: class name, score, x1, y1, x2, y2 in pixels of the image.
set -euo pipefail
image=${1:?usage: $0 IMAGE [URL]} url=${2:-http://127.0.0.1:8000}

# The answer has numbers of classes. Their names are in the configuration of the step that makes them.
labels=$(curl --fail-with-body -sS "$url/v2/models/nms/config" | jq -r '.parameters.labels.string_value')

# The request: JSON, and behind it the bytes of the image.
size=$(wc -c <"$image" | tr -d ' ')
header='{"inputs": [{"name": "image", "shape": [1, '$size'], "datatype": "UINT8",
                     "parameters": {"binary_data_size": '$size'}}],
         "parameters": {"binary_data_output": false, "score_threshold": 0.4, "priority": 1, "timeout": 5000000}}'
answer=$( (printf %s "$header"; cat "$image") |
  curl -sS --data-binary @- -H "Inference-Header-Content-Length: ${#header}" "$url/v2/models/detect/infer")

# Each output has room for 100 detections. The first num_detections rows are real, the others are zero.
jq -r --argjson labels "$labels" '
  if .error then error(.error) else . end
  | (.outputs | map({(.name): .data}) | add) as $out
  | range($out.num_detections[0]) as $i
  | [$labels[$out.classes[$i]], $out.scores[$i], $out.boxes[4 * $i : 4 * $i + 4][]]
  | @tsv' <<<"$answer"
