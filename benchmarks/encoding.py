"""How fast do CIFs become tensors, on how many processes, and does memory grow with the rows?

python benchmarks/encoding.py mp_20/train.csv.gz perov_5/train.csv.gz --crystals 2000 --out encoding.json
python benchmarks/encoding.py perov_5/train.csv.gz --rows 20000 200000 --out encoding_rows.json

The first: structures per second of CPU time, one thread, by stage (`read` CIF text to arrays, `cell` the standard cell,
`write` into a set on disk, `batch` of 64 graph tensors), and per second of wall time from CSV to set by number of
worker processes. The second: a synthetic table of so many rows (crystals of DATA with cells scaled and atoms moved at
random) is encoded into a folder, in a fresh process; rows per second of wall time, and peak memory of that process and
of the largest worker.
"""

import argparse
import csv
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import record

BATCH = 64


def per_second(function: Callable[[Any], Any], items: Iterable[Any]) -> tuple[float, list[Any]]:
    """Items per second of CPU time, and what came of them; the first, which imports, is not counted."""
    first, *rest = items
    done = [function(first)]
    start = time.process_time()
    done += [function(item) for item in rest]
    return len(rest) / max(time.process_time() - start, 1e-9), done


def stages(data: str, count: int, max_atoms: int, folder: Path) -> dict[str, Any]:
    """Structures per second of every stage, one after the other."""
    import torch

    from graphgan.cells import standard_arrays
    from graphgan.data.entries import Options, parse_entry
    from graphgan.data.reading import stream
    from graphgan.encodings import GraphEncoding
    from graphgan.encodings.stored import SetWriter

    torch.set_num_threads(1)
    entries = list(itertools.islice(stream(data).entries, count))
    read, parsed = per_second(lambda entry: parse_entry(entry.kind, entry.content, Options(True, None)), entries)
    crystals = [crystal for ((_, crystal),) in parsed if not isinstance(crystal, str)]
    cell, cells = per_second(lambda c: standard_arrays(c.lattice, c.frac_coords, c.numbers.astype(int)), crystals)
    cells = [cell for cell in cells if len(cell[2]) <= max_atoms]
    with SetWriter(folder / "stages", max_atoms) as writer:
        write, _ = per_second(lambda cell: writer.add("name", *cell), cells)
        writer.finish()
    _, found = GraphEncoding.load(folder / "stages")
    rng = torch.Generator().manual_seed(0)
    draws = [torch.randint(len(found), (BATCH,), generator=rng) for _ in range(101)]
    batch, _ = per_second(lambda draw: found[draw], draws)
    atoms = float(found.num_atoms.double().mean())
    return {"crystals": len(cells), "atoms": atoms, "read": read, "cell": cell, "write": write, "batch": BATCH * batch}


def by_workers(data: str, count: int, workers: int, max_atoms: int, folder: Path) -> float:
    """Rows per second of wall time from a CSV of `count` rows of DATA to a set."""
    table = folder / "rows.csv"
    write_table(table, CSV_HEADER, synthetic(data, count))
    start = time.perf_counter()
    encode(table, folder / "rows", max_atoms, workers)
    return count / (time.perf_counter() - start)


def encode(table: Path, out: Path, max_atoms: int, workers: int | None) -> Any:
    from graphgan.encodings.streaming import encode_to_disk

    return encode_to_disk(table, out, max_atoms=max_atoms, workers=workers)


CSV_HEADER = ("material_id", "cif")


def synthetic(data: str, rows: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Rows of CIF text: the crystals of DATA again and again, cells scaled by 2 %, atoms moved by .02 of a cell."""
    from graphgan.data import read
    from graphgan.data.crystals import SYMBOLS

    rng = np.random.default_rng(seed)
    structures = read(data).structures
    for row in range(rows):
        structure = structures[row % len(structures)]
        scale, move = rng.uniform(0.98, 1.02), rng.normal(0, 0.02, (len(structure), 3))
        cell = [length * scale for length in structure.lattice.abc] + list(structure.lattice.angles)
        lines = ["data_x"]
        names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        lines += [f"_cell_{name} {value:.6f}" for name, value in zip(names, cell, strict=True)]
        lines += ["loop_", "_atom_site_type_symbol", "_atom_site_label"]
        lines += [f"_atom_site_fract_{axis}" for axis in "xyz"]
        numbers = [site.specie.Z for site in structure]
        for atom, (number, (x, y, z)) in enumerate(zip(numbers, structure.frac_coords + move, strict=True)):
            lines.append(f"{SYMBOLS[number]} {SYMBOLS[number]}{atom} {x:.6f} {y:.6f} {z:.6f}")
        yield f"row-{row}", "\n".join(lines) + "\n"


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)


def of_rows(data: str, rows: int, max_atoms: int, workers: int | None, folder: Path) -> dict[str, Any]:
    """Encode a synthetic table in a process of its own, which tells its memory."""
    table = folder / f"{rows}.csv"
    write_table(table, CSV_HEADER, synthetic(data, rows))
    asked = [str(table), str(folder / str(rows)), str(max_atoms), str(workers or 0)]
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *asked], stdout=subprocess.PIPE, text=True, check=True
    )
    table.unlink()
    return {"data": data, "rows": rows, **json.loads(done.stdout.splitlines()[-1])}


def measure(table: str, out: str, max_atoms: str, workers: str) -> None:
    """What the process of `of_rows` does."""
    start = time.perf_counter()
    written = encode(Path(table), Path(out), int(max_atoms), int(workers) or None)
    seconds = time.perf_counter() - start
    scale = 2**20 if sys.platform == "darwin" else 2**10
    usage = {who: resource.getrusage(getattr(resource, who)) for who in ("RUSAGE_SELF", "RUSAGE_CHILDREN")}
    parent, worker = usage["RUSAGE_SELF"], usage["RUSAGE_CHILDREN"]
    size = sum(file.stat().st_size for file in Path(out).iterdir())
    numbers = {
        "crystals": written.crystals,
        "left_out": written.skipped + written.large,
        "seconds": seconds,
        "rows_a_second": (sum(written)) / seconds,
        "cpu_seconds_parent": parent.ru_utime + parent.ru_stime,
        "cpu_seconds_workers": worker.ru_utime + worker.ru_stime,
        "parent_mib": parent.ru_maxrss / scale,
        "largest_worker_mib": worker.ru_maxrss / scale,
        "set_mib": size / 2**20,
    }
    print(json.dumps(numbers))


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="any forms of DATA")
    parser.add_argument("--crystals", type=int, default=2000)
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, nargs="+", help="rows of synthetic tables, for the second question")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for data in options.data:
            if options.rows:
                workers = options.workers[-1]
                rows += [of_rows(data, count, options.max_atoms, workers, folder) for count in options.rows]
                continue
            row = {"data": data} | stages(data, options.crystals, options.max_atoms, folder)
            for workers in options.workers:
                rate = by_workers(data, options.crystals, workers, options.max_atoms, folder)
                row[f"all, {workers} process{'es' if workers > 1 else ''}"] = rate
            rows.append(row)
    print(record.table(rows, list(rows[0])))
    record.write(options.out, "encoding", rows)


if __name__ == "__main__":
    main()
