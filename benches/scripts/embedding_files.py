"""Small files of embedding tables as Faiss writes them, with what it decodes them to (bits of f32).

    python3 benches/scripts/embedding_files.py FOLDER

The files in index/tests/data/embedding were made with faiss-cpu 1.15 from PyPI.
"""

import sys

import faiss
import numpy

folder = sys.argv[1]
for bits, dim, parts in (4, 6, 3), (8, 2, 1):
    rows = numpy.random.default_rng(7).standard_normal((300, dim)).astype("f4")
    index = faiss.IndexPQ(dim, parts, bits)
    index.train(rows)
    index.add(rows[:9])
    faiss.write_index(index, f"{folder}/faiss-pq-{bits}.index")
    decoded = index.reconstruct_n(0, 9).view("u4").ravel()
    with open(f"{folder}/faiss-pq-{bits}.txt", "w") as out:
        out.write(" ".join(map(str, decoded)) + "\n")
