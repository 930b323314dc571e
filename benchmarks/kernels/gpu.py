"""The benchmarks on a GPU, one after the other; this is ``dds-fast bench gpu``.

    dds-fast bench gpu --out DIR [--only W1,W1-F512-K20] [--quick] [--device cuda|cpu]
                       [--race-seconds 1.5] [--minutes 7] [--trial]

It builds nothing and needs no network. Every contender is first compared with float64 on the
device. The JSON of a case goes to DIR/<case>.json; cases that have one are skipped, so an
interrupted run continues. After so many minutes no further job is begun: the same command again
goes on. DIR/README.md is made at the end of all JSON in DIR; benchmarks/README.md tells what W1 to
W6 are. ``--device cpu --quick`` shows without a GPU, at tiny sizes, that the command works.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from jobs import Job
from kernels import suite
from kernels.cases import DECOMPOSITIONS, GPU_CASES, NMF_CASES, TRAININGS

RACE_SECONDS = 1.5
MINUTES = 7.0


def jobs() -> Iterator[Job]:
    """Few processes, as each must start CUDA; what matters most comes first."""
    yield Job("machine", "kernels/test_limits.py", selected=False)
    groups: dict[str, list[str]] = {}
    for name in GPU_CASES:
        groups.setdefault(name.rpartition("-")[0], []).append(name)
    flows = {n: Job(n, "kernels/test_flows.py", tuple(cases)) for n, cases in groups.items()}
    yield flows.pop("W1-F512")
    yield Job("W5", "kernels/test_decompose.py", tuple(DECOMPOSITIONS))
    yield from flows.values()
    yield Job("W4", "kernels/test_nmf_steps.py", NMF_CASES)
    yield Job("W6", "kernels/test_training.py", tuple(TRAININGS))


def main() -> int:
    parser = suite.parser("gpu", "benchmarks on a GPU")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.set_defaults(race_seconds=RACE_SECONDS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            f"dds-fast: no GPU: torch {torch.__version__} sees no CUDA device; "
            "--device cpu --quick shows at tiny sizes that the command works",
            file=sys.stderr,
        )
        return 1
    if options.device == "cpu" and not options.quick:
        print("dds-fast: --device cpu is for --quick: the sizes are a GPU's", file=sys.stderr)
        return 1
    flags = ["--suite", "gpu", "--device", options.device]
    return suite.run(jobs(), options, flags, options.minutes)
