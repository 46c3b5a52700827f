"""One format for every benchmark: what was asked, on what machine, and a row of numbers a case.

    {"benchmark": "train_step", "command": "...", "machine": {...}, "rows": [{...}, ...]}

A script prints a table and, with --out, writes this as JSON. Scripts here are run as `python benchmarks/NAME.py`, so
they import this file by its name.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "scipy", "pymatgen", "spglib", "scikit-learn", "e3nn")
MODULES = {"scikit-learn": "sklearn"}


def machine() -> dict[str, Any]:
    """Processor, cores, versions and commit."""
    import torch

    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    facts = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES if find_spec(MODULES.get(name, name))},
        "commit": git.stdout.strip(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def peak_gib() -> float:
    """Most memory this process ever held, in GiB."""
    scale = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def write(out: Path | None, benchmark: str, rows: Sequence[dict[str, Any]], **facts: Any) -> None:
    """Write the record; nothing without a path."""
    if out is None:
        return
    command = " ".join([Path(sys.executable).name, *sys.argv])
    record = {"benchmark": benchmark, "command": command, "machine": machine(), **facts, "rows": list(rows)}
    out.write_text(json.dumps(record, indent=1, default=str) + "\n")


def table(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> str:
    """A Markdown table; numbers with three digits, what a row lacks as a blank."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_shown(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
