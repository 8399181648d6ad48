#!/usr/bin/env python3
"""Writes the vectors that tables are tested against: faiss decodes, numpy decomposes.

    pip install numpy faiss-cpu
    python3 benches/scripts/embedding_vectors.py index/tests/data/embedding
"""
import pathlib
import sys

import faiss
import numpy as np

ROWS, DIM, RANK = 24, 16, 4


def product_quantizer(rows, out):
    rng = np.random.default_rng(2)
    quantizer = faiss.ProductQuantizer(DIM, 4, 8)
    faiss.copy_array_to_vector(rng.normal(size=4 * 256 * 4).astype("f4"), quantizer.centroids)
    codes = quantizer.compute_codes(rows)
    faiss.vector_to_array(quantizer.centroids).astype("<f4").tofile(out / "pq_centroids.f32")
    codes.tofile(out / "pq_codes.u8")
    quantizer.decode(codes).astype("<f4").tofile(out / "pq_decoded.f32")


def cut_off(matrix, rank):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank], s[:rank, None] * v[:rank]


def tensor_train(rows):
    """Three cores; the last digit of a row's number belongs to the last core."""
    n, d = (3, 3, 3), (2, 2, 4)
    padded = np.zeros((27, DIM))
    padded[:ROWS] = rows
    tensor = padded.reshape(*n, *d).transpose(0, 3, 1, 4, 2, 5)
    first, rest = cut_off(tensor.reshape(n[0] * d[0], -1), RANK)
    middle, last = cut_off(rest.reshape(RANK * n[1] * d[1], n[2] * d[2]), RANK)
    whole = (first @ (middle @ last).reshape(RANK, -1)).reshape(n[0], d[0], n[1], d[1], n[2], d[2])
    return whole.transpose(0, 2, 4, 1, 3, 5).reshape(27, DIM)[:ROWS]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(1).normal(size=(ROWS, DIM)).astype("<f4")
    rows.tofile(out / "rows.f32")
    product_quantizer(rows, out)
    left, right = cut_off(rows.astype("f8"), 3)
    (left @ right).astype("<f4").tofile(out / "svd3.f32")
    tensor_train(rows.astype("f8")).astype("<f4").tofile(out / "tt4.f32")


main()
