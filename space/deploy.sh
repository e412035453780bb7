#!/bin/bash
# Copies the files of a Space: the page, and the package beside it. Usage: bash space/deploy.sh FOLDER
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
out="${1:?usage: bash space/deploy.sh FOLDER}"
if [ -e "$out" ] && [ -n "$(ls -A "$out")" ]; then echo "deploy.sh: $out is not empty" >&2; exit 2; fi
mkdir -p "$out"
cp "$root"/space/{app.py,actions.py,requirements.txt,README.md} "$out"
cp -r "$root/sngan_hub" "$out/sngan_hub"
find "$out" -name __pycache__ -prune -exec rm -rf {} +
echo "$out: ready to upload"
