#!/usr/bin/env python3
"""Sets up the Python that the `torch` engine runs in: a virtual environment with pinned packages from PyPI.

    python3 scripts/torch_env.py DIR
    export AAR_TORCH_PYTHON=DIR/bin/python

On Linux, PyPI's build of torch is the one with CUDA: about 3 GB to fetch and 6 GB on the disk, with a GPU or without.
"""

import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "safetensors==0.8.0"]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = Path(sys.argv[1])
    python = directory / "bin/python"
    if not python.exists():
        venv.create(directory, with_pip=True)
    # Without pip's cache: a second copy of such files is of no use to anybody.
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    subprocess.run([*pip, *PACKAGES], check=True)
    subprocess.run([python, "-I", "-c", "import torch, transformers, peft, safetensors"], check=True)
    print(f"export AAR_TORCH_PYTHON={python.absolute()}")


if __name__ == "__main__":
    main()
