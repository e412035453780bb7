#!/bin/bash
# Copies the files of a Space: app.py, and the folders space/ and sngan_hub/ beside it. Usage: bash space/deploy.sh FOLDER
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
out="${1:?usage: bash space/deploy.sh FOLDER}"
if [ -e "$out" ] && [ -n "$(ls -A "$out")" ]; then echo "deploy.sh: $out is not empty" >&2; exit 2; fi
mkdir -p "$out/space"
cp "$root"/space/{app.py,requirements.txt,README.md} "$out"
cp "$root"/space/*.{py,css,js,png} "$out/space"
rm "$out/space/app.py"
cp -r "$root/sngan_hub" "$out/sngan_hub"
find "$out" -name __pycache__ -prune -exec rm -rf {} +
echo "$out: ready to upload"
