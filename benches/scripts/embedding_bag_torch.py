#!/usr/bin/env python3
"""Pooled lookups beside torch's embedding_bag kernels: one thread, ns an id, medians of rounds in which both take turns.

    pip install torch numpy
    cargo build --release -p nearline-benches --example embedding_bag
    python3 benches/scripts/embedding_bag_torch.py target/release/examples/embedding_bag [ROUNDS]

64 values a row, bags of 20 random ids, other ids every time. `gather` is what touching the lines of such rows of f32
takes, all of them asked for early.
"""
import subprocess
import sys
import time

import numpy as np
import torch

DIM, POOL, BAGS = 64, 20, 2000
COUNT = POOL * BAGS
ops = torch.ops.quantized


def quantized(name):
    """A kernel by the name of its bits."""
    call = getattr(ops, f"embedding_bag_{name}_rowwise_offsets")
    return lambda rows, ids, offsets, weights: call(rows, ids, offsets, False, 0, False, weights)


def plain(rows, ids, offsets, weights):
    return torch.nn.functional.embedding_bag(ids, rows, offsets, mode="sum", per_sample_weights=weights)


KINDS = {
    "f32": (lambda rows: rows, plain),
    "f16": None,
    "int8": (ops.embedding_bag_byte_prepack, quantized("byte")),
    "int4": (ops.embedding_bag_4bit_prepack, quantized("4bit")),
    "int2": (ops.embedding_bag_2bit_prepack, quantized("2bit")),
    "pq": None,
    "served-int8": None,
    "gather": None,
}


class Ours:
    """The example, one question at a time."""

    def __init__(self, path):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([path, "ask"], stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def nanos(self, kind, rows, how):
        print(kind, rows, how, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def torch_nanos(kernel, packed, rows, offsets, rng, weights):
    # Twice, for what the other has left in the caches is not to count.
    for _ in range(2):
        ids = torch.from_numpy(rng.integers(0, rows, COUNT))
        start = time.perf_counter_ns()
        kernel(packed, ids, offsets, weights)
        nanos = (time.perf_counter_ns() - start) / COUNT
    return nanos


def main():
    ours, rounds = Ours(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 15
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    offsets = torch.arange(0, COUNT, POOL)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {rounds} rounds")
    print(f"{'rows':>9} {'kind':<12}{'':<9}{'ours':>9}{'torch':>9}{'ratio':>8}")
    for rows in (20_000, 2_000_000):
        for kind, peer in KINDS.items():
            packed = peer[0](torch.rand(rows, DIM)) if peer else None
            for how in ("plain",) if kind == "gather" else ("plain", "weighted"):
                weights = torch.rand(COUNT) if how == "weighted" else None
                times, theirs = [], []
                for _ in range(rounds + 1):
                    times.append(ours.nanos(kind, rows, how))
                    if peer:
                        theirs.append(torch_nanos(peer[1], packed, rows, offsets, rng, weights))
                a, b = np.median(times[1:]), np.median(theirs[1:]) if peer else None
                other = f"{b:>9.2f}{a / b:>8.2f}" if peer else ""
                print(f"{rows:>9} {kind:<12}{how:<9}{a:>9.2f}{other}", flush=True)


main()
