"""Makes the project's environment from its locks; ``bootstrap.sh`` picks the Python that runs this.

Standard library only. Prints what it does. A lock file keeps two runs from colliding, and a stamp (a hash of the
locks, of ``pyproject.toml`` and of this file) lets a run with nothing to do end at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / ".credit301-stamp"
LOCK = "locks/dev.txt"
UV_LOCK = "locks/uv.txt"
INPUTS = (LOCK, UV_LOCK, "pyproject.toml", "scripts/bootstrap.py")


def main() -> int:
    """Bring ``.venv`` up to date; the exit code of the first command that fails."""
    (ROOT / "var").mkdir(exist_ok=True)
    with (ROOT / "var" / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = fingerprint()
        if STAMP.exists() and STAMP.read_text() == wanted and runs(python()):
            return 0
        STAMP.unlink(missing_ok=True)
        began = time.monotonic()
        try:
            install()
        except subprocess.CalledProcessError as error:
            say(f"error: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
            return int(error.returncode) or 1
        STAMP.write_text(wanted)
        say(f"环境就绪 · the environment is ready after {time.monotonic() - began:.0f} s")
    return 0


def install() -> None:
    """Make the environment where there is none, install the locks into it, then the project itself."""
    if not runs(python()):
        say(f"创建 .venv · making .venv with Python {sys.version.split()[0]}")
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        run(sys.executable, "-m", "venv", str(ENVIRONMENT))
    say(f"安装依赖 · installing what {LOCK} names (hashes are checked)")
    pip = (str(python()), "-m", "pip", "--disable-pip-version-check", "--quiet")
    try:
        run(*pip, "install", "--require-hashes", "--no-deps", "-r", UV_LOCK)
        uv = str(ENVIRONMENT / "bin" / "uv")
        # As pip does: where Python may not write what it compiles, every process would compile its imports again.
        run(uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes", LOCK)
        run(uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ".")
    except (subprocess.CalledProcessError, OSError):
        say("uv 不可用，改用 pip · uv cannot do it here: falling back to pip, which takes longer")
        run(*pip, "install", "--require-hashes", "--no-deps", "-r", LOCK)
        run(*pip, "install", "--no-deps", "--no-build-isolation", "--editable", ".")


def fingerprint() -> str:
    """Hash of everything that the environment is made from."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()


def python() -> Path:
    """The environment's interpreter."""
    return ENVIRONMENT / "bin" / "python"


def runs(interpreter: Path) -> bool:
    """Whether ``interpreter`` exists and starts; a copied or half-made environment does not."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is None)"
    try:
        return subprocess.run([interpreter, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(*command: str) -> None:
    """Run ``command`` in the project's folder, in its environment and in no other."""
    environment = {
        key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }
    # The Python that was chosen is the one to use: none is to be downloaded.
    environment |= {"VIRTUAL_ENV": str(ENVIRONMENT), "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def say(message: str) -> None:
    """Print one line of progress."""
    print(f"setup: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
