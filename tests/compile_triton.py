"""Compile the Triton kernels for an architecture and say what each needs; no GPU is used.

    python tests/compile_triton.py 90 [--all]

With --all, the sizes of docs/gpu_kernels.md; otherwise small ones.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dds_fast.search.gpu.kernels import bank, layered, nmf, objective, search, staged

POINTERS = {
    "*fp64": {"squares", "sums", "wide", "history"},
    "*i64": {"groups", "counters", "labels", "first_entry"},
    "*i32": {"places"},
}
FLOATS = {"penalty", "sparsity", "epsilon"}
INTEGERS = {"pitch", "patience", "max_increases", "max_steps", "h_stride", "d_entry", "d_feature"}
INTEGERS |= {"a_m", "a_k", "b_k", "b_n", "right_k", "right_n"}

Case = tuple[Any, dict[str, Any], int]


def signature(kernel: Any, constants: dict[str, Any]) -> dict[str, str]:
    """The types of a kernel's arguments, by their names."""
    low = constants.get("PRECISION") == "bfloat16"
    types = {}
    for name in kernel.arg_names:
        kinds = [kind for kind, names in POINTERS.items() if name in names]
        if name in constants:
            types[name] = "constexpr"
        elif name.startswith("n_") or name.endswith("_stride") or name in INTEGERS:
            types[name] = "i32"
        elif name in FLOATS:
            types[name] = "fp32"
        elif kinds:
            types[name] = kinds[0]
        elif low and name in ("weights", "hidden"):
            types[name] = "*bf16"
        else:
            types[name] = "*fp32"
    return types


def compiled(kernel: Any, constants: dict[str, Any], warps: int, architecture: int) -> str:
    """Compiles; returns registers per thread, bytes of local memory and of shared memory."""
    types = signature(kernel, constants)
    aligned = [["tt.divisibility", 16]]
    attributes = {
        (i,): aligned for i, name in enumerate(kernel.arg_names) if types[name].startswith("*")
    }
    made = triton.compile(
        ASTSource(kernel, types, constants, attributes),
        target=GPUTarget("cuda", architecture, 32),
        options={"num_warps": warps, "num_stages": 3},
    )
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage).groups()
    product = next((p for p in ("wgmma", "mma.sync") if p in made.asm["ptx"]), "no matrix unit")
    return f"{registers} registers, {stack} local, {made.metadata.shared} shared, {product}"


def flow_cases(sizes: dict[str, int], blocks: dict[str, int], warps: int) -> Iterator[Case]:
    """The bank's kernels and those of a large flow's layers."""
    common = {**blocks, "ACTIVATION": "selu"}
    whole = {**common, **sizes, "N_STEPS": 16, "ENCODE": False}
    yield bank.bank_forward_kernel, {**whole, "KEEP": True}, warps
    yield bank.bank_backward_kernel, whole, warps
    width, features = sizes["WIDTH"], sizes["FEATURES"]
    layer = {"N_OUT": width, "N_IN": width}
    yield layered.hidden_kernel, {**common, **layer}, warps
    yield layered.gradient_kernel, {**common, **layer}, warps
    last = {"FEATURES": features, "N_IN": width, "ENCODE": False, "KEEP": True}
    yield layered.moving_kernel, {**blocks, **last}, warps
    yield layered.passing_gradient_kernel, {**blocks, "N_OUT": width, "FEATURES": features}, warps


def plain_cases() -> Iterator[Case]:
    """Kernels that do not depend on a precision."""
    tile = {"BLOCK_M": 64, "BLOCK_R": 64, "FEATURES": 64}
    yield layered.rows_to_state_kernel, tile, 4
    yield layered.state_to_rows_kernel, tile, 4
    yield layered.moving_gradient_kernel, {**tile, "ENCODE": False}, 4
    for per_frame in (False, True):
        sums = {"PER_FRAME": per_frame, "BLOCK_M": 32, "BLOCK_N": 32}
        yield objective.frames_kernel, sums, 4
        yield objective.likelihood_gradient_kernel, sums, 4
    yield objective.frame_residual_kernel, {"BLOCK_M": 16, "BLOCK_N": 64}, 4
    yield objective.frame_dictionary_gradient_kernel, {"BLOCK_N": 512}, 4
    yield search.frame_activations_kernel, {"BLOCK_M": 16, "BLOCK_N": 128}, 4
    latents = {"N_FEATURES": 512, "N_FIXED": 60, "BLOCK": 1024}
    yield search.latents_kernel, {**latents, "MOVE": True}, 4
    yield search.latents_kernel, {**latents, "MOVE": False}, 4
    yield search.schedule_kernel, {"OBSERVE": True, "BLOCK": 256}, 1
    yield search.schedule_kernel, {"OBSERVE": False, "BLOCK": 256}, 1
    yield staged.activity_kernel, {"BLOCK": 256}, 4
    yield staged.cost_kernel, {"RECORD": True, "BLOCK": 256}, 1
    yield staged.cost_kernel, {"RECORD": False, "BLOCK": 256}, 1
    yield nmf.ratio_kernel, {"BLOCK": 1024}, 4
    yield nmf.quotient_kernel, {"BLOCK": 1024}, 4


def product_cases(precision: str, size: int, warps: int) -> Iterator[Case]:
    """The products of the objective and of the multiplicative updates."""
    blocks = {"PRECISION": precision, "BLOCK_M": size, "BLOCK_N": size, "BLOCK_K": 32}
    yield objective.residual_kernel, blocks, warps
    yield objective.dictionary_gradient_kernel, blocks, warps
    yield search.activations_kernel, {**blocks, "PENALISED": True, "PROJECTED": False}, warps
    yield staged.product_kernel, blocks, warps
    for over_relaxed in (False, True):
        yield staged.update_kernel, {**blocks, "OVER_RELAXED": over_relaxed}, warps


def cases(full: bool) -> Iterator[Case]:
    yield from plain_cases()
    if not full:
        sizes = {"FEATURES": 64, "WIDTH": 32, "DEPTH": 2}
        for precision in ("bfloat16", "float32"):
            blocks = {"PRECISION": precision, "BLOCK_M": 32, "BLOCK_K": 32, "BLOCK_R": 16}
            yield from flow_cases(sizes, blocks, 4)
        yield from product_cases("bf16x3", 32, 4)
        return
    sizes = {"FEATURES": 512, "WIDTH": 128, "DEPTH": 4}
    for precision, k in (("float32", 32), ("tf32", 32), ("bf16x3", 32), ("bfloat16", 64)):
        for rows in (16, 32, 64):
            blocks = {"PRECISION": precision, "BLOCK_M": 128, "BLOCK_K": k, "BLOCK_R": rows}
            yield from flow_cases(sizes, blocks, 8)
    for precision in ("float32", "tf32", "bf16x3"):
        yield from product_cases(precision, 32, 4)
        yield from product_cases(precision, 64, 8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("architecture", type=int)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise SystemExit("TRITON_INTERPRET=1: there is nothing to compile")
    for kernel, constants, warps in cases(options.all):
        needs = compiled(kernel, constants, warps, options.architecture)
        sizes = {k: v for k, v in constants.items() if k.startswith(("BLOCK", "PREC"))}
        print(f"{kernel.__name__} {sizes}: {needs}", flush=True)


if __name__ == "__main__":
    main()
