"""How fast labels are drawn: seconds for 10 million labels, and for idn on the features of 50,000 images.

python examples/benchmarks/noise.py [--labels 10000000] [--classes 10 100] [--instance]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jal_hf.noise import LabelNoise, create_noise, noise_report


def specs(num_classes: int, folder: Path) -> list[str]:
    """One spec of each class-conditional kind; the matrix is full, without zeros."""
    matrix = np.random.default_rng(0).dirichlet(np.ones(num_classes), size=num_classes)
    path = folder / f"T{num_classes}.json"
    path.write_text(json.dumps((0.6 * np.eye(num_classes) + 0.4 * matrix).tolist()), encoding="utf-8")
    pairs = ";".join(f"{label}>{label + 1}" for label in range(0, num_classes - 1, 2))
    return ["symmetric:0.4", f"asymmetric:0.4,classes={pairs}", "pairflip:0.4", f"matrix:{path}"]


def measure(noise: LabelNoise, labels: np.ndarray, features: np.ndarray | None = None) -> float:
    """Print the row of one draw and return its processor seconds."""
    start, busy = time.perf_counter(), time.process_time()
    noisy = noise.corrupt(labels, seed=0, features=features)
    spent, busy = time.perf_counter() - start, time.process_time() - busy
    rate = noise_report(labels, noisy, noise).realised_rate
    name = f"{noise.kind:<12} {noise.mode:<6} {noise.num_classes:>7} {len(labels):>11,}"
    print(f"{name} {spent:>8.2f} {busy:>8.2f} {rate:>9.4f}", flush=True)
    return busy


def main() -> None:
    """Print the table; exit with 1 when 10 million class-conditional draws kept the processor busy over 5 s."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, default=10_000_000, help="How many labels are drawn.")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100], help="Numbers of classes.")
    parser.add_argument(
        "--instance", action="store_true", help="Time idn and pdn on 50,000 x 3,072 features too."
    )
    arguments = parser.parse_args()
    generator = np.random.default_rng(1)
    print(
        f"{'noise':<12} {'mode':<6} {'classes':>7} {'labels':>11} {'seconds':>8} {'cpu':>8} {'realised':>9}"
    )
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        for num_classes in arguments.classes:
            labels = generator.integers(0, num_classes, arguments.labels)
            for spec in specs(num_classes, Path(folder)):
                for mode in ("exact", "iid"):
                    noise = create_noise(f"{spec},mode={mode}", num_classes)
                    slow |= measure(noise, labels) > 5.0 * max(1.0, arguments.labels / 10_000_000)
    if arguments.instance:
        features = generator.standard_normal((50_000, 3_072), dtype=np.float32)
        for num_classes in arguments.classes:
            labels = generator.integers(0, num_classes, 50_000)
            for kind in ("idn", "pdn"):
                measure(create_noise(f"{kind}:0.4", num_classes), labels, features)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory {memory:.2f} GiB, the features alone {features.nbytes / 2**30:.2f} GiB")
    sys.exit(int(slow))


if __name__ == "__main__":
    main()
