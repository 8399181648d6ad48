#!/usr/bin/env python3
"""What torch's embedding_bag kernels take, as benches/examples/embedding_bag.rs measures ours.

    pip install torch numpy
    python3 benches/scripts/embedding_bag_torch.py [ROUNDS]
"""
import sys
import time

import numpy as np
import torch

DIM, POOL, BAGS = 64, 20, 2000


def nanos(rows, call, rounds):
    rng = np.random.default_rng(1)
    offsets = torch.arange(0, BAGS * POOL, POOL)
    least = float("inf")
    for _ in range(rounds):
        ids = torch.from_numpy(rng.integers(0, rows, BAGS * POOL))
        start = time.perf_counter_ns()
        call(ids, offsets)
        least = min(least, (time.perf_counter_ns() - start) / (BAGS * POOL))
    return least


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    torch.set_num_threads(1)
    ops = torch.ops.quantized
    print(f"{'torch ' + torch.__version__:<18}{'20 k rows':>12}{'2 M rows':>12}")
    kinds = {
        "f32": (lambda w: w, lambda w, i, o: torch.nn.functional.embedding_bag(i, w, o, mode="sum")),
        "int8": (ops.embedding_bag_byte_prepack, lambda w, i, o: ops.embedding_bag_byte_rowwise_offsets(w, i, o, False, 0)),
        "int4": (ops.embedding_bag_4bit_prepack, lambda w, i, o: ops.embedding_bag_4bit_rowwise_offsets(w, i, o, False, 0)),
        "int2": (ops.embedding_bag_2bit_prepack, lambda w, i, o: ops.embedding_bag_2bit_rowwise_offsets(w, i, o, False, 0)),
    }
    for name, (pack, pool) in kinds.items():
        line = f"{name:<18}"
        for rows in (20_000, 2_000_000):
            packed = pack(torch.rand(rows, DIM))
            line += f"{nanos(rows, lambda i, o: pool(packed, i, o), rounds):>12.2f}"
        print(line)


main()
