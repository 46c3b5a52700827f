"""Does a crystal survive encode -> decode? The share that StructureMatcher (default tolerances) takes for the original.

python benchmarks/round_trip.py default mp_20/train.csv.gz mpts_52/val.csv.gz --max-atoms 52 --out round_trip.json
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import record
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

from graphgan.data import read
from graphgan.encodings import GraphEncoding


def fits(pair: tuple[Structure, Structure | None]) -> bool:
    original, decoded = pair
    return decoded is not None and StructureMatcher().fit(original, decoded)


def round_trip(data: str, max_atoms: int, pool: Any) -> dict[str, Any]:
    found = read(data)
    encoding = GraphEncoding(max_atoms)
    start = time.perf_counter()
    crystals, kept = encoding.fit_encode(found.structures)
    seconds = {"encode": time.perf_counter() - start}
    start = time.perf_counter()
    decoded = encoding.decode(crystals)
    seconds["decode"] = time.perf_counter() - start
    pairs = [(found.structures[i], again) for i, again in zip(kept, decoded, strict=True)]
    matched = list(pool.imap(fits, pairs, chunksize=50))
    failed = [found.ids[kept[i]] for i, ok in enumerate(matched) if not ok]
    counts = {"read": len(found.structures), "kept": len(kept), "matched": sum(matched)}
    return {"data": data, **counts, "failed": failed, **seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="any forms of DATA")
    parser.add_argument("--max-atoms", type=int, default=52)
    parser.add_argument("--processes", type=int, help="all cores if not given")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    print("| data | read | at most N atoms | matched | encode, ms each | decode, ms each |\n|---|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for data in options.data:
            row = round_trip(data, options.max_atoms, pool)
            rows.append(row)
            n = row["kept"]
            share = f"{row['matched']} ({100 * row['matched'] / n:.2f} %)"
            times = f"{1e3 * row['encode'] / n:.2f} | {1e3 * row['decode'] / n:.2f}"
            print(f"| {data} | {row['read']} | {n} | {share} | {times} |", flush=True)
            if row["failed"]:
                print("not matched:", ", ".join(row["failed"][:20]), flush=True)
    record.write(options.out, "round_trip", rows)


if __name__ == "__main__":
    main()
