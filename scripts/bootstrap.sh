#!/usr/bin/env bash
# Makes .venv with everything that the locks name. Safe to run again: it does nothing while nothing has changed.
# Needs a Python from 3.11 to 3.13 and nothing else; takes the newest that really runs (a version manager's shim may not).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

for python in .venv/bin/python python3.13 python3.12 python3.11 python3 python; do
  if command -v "$python" >/dev/null 2>&1 && usable "$python"; then
    exec "$python" scripts/bootstrap.py
  fi
done
echo "error: no Python from 3.11 to 3.13 with venv was found. 未找到 Python 3.11 至 3.13。" >&2
echo "  what to do: install one (Debian: apt-get install python3 python3-venv) and run this again." >&2
exit 1
