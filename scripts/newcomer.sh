#!/usr/bin/env bash
# What somebody gets who clones the last commit: set-up, a small demo, the end of it. It has a home and ports of
# its own, so it disturbs nothing that runs from this checkout.
set -euo pipefail
root=$(git rev-parse --show-toplevel)
folder=$(mktemp -d)
git clone --quiet "$root" "$folder/clone"
cd "$folder/clone"
# shellcheck source=scripts/free_ports.sh
source scripts/free_ports.sh
finish() {
  make down || true
  rm -rf "$folder"
}
trap finish EXIT
time make demo ENTERPRISES="${ENTERPRISES:-1500}"
git status --short
