"""Work on several processes gives what one gives, from any script, and survives the loss of a process."""

import math
import os
import subprocess
import sys
import time
from functools import partial
from operator import truediv
from pathlib import Path

import pytest

from graphgan.processes import in_order


def test_processes_change_nothing():
    expected = [math.sqrt(i) for i in range(230)]
    assert list(in_order(math.sqrt, range(230), workers=1)) == expected
    assert list(in_order(math.sqrt, range(230), workers=2, patience=0)) == expected
    assert list(in_order(math.sqrt, range(230), workers=2, patience=0, chunk=1)) == expected
    assert list(in_order(math.sqrt, [], workers=2, patience=0)) == []


def test_other_processes_do_the_work():
    ids = set(in_order(partial(eval, "__import__('os').getpid()"), [{}] * 200, workers=2, patience=0, chunk=10))
    assert len(ids) == 3  # this one began
    assert os.getpid() in ids


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_come_back(workers):
    results = in_order(partial(truediv, 1), [1, 2, 4, 0, 5], workers=workers, patience=0, chunk=1)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        list(results)


def test_a_reader_who_leaves_does_not_wait_for_the_rest():
    started = time.monotonic()
    results = in_order(time.sleep, [0, 0, *[30] * 10], workers=2, patience=0, chunk=1)
    next(results)
    next(results)
    results.close()
    assert time.monotonic() - started < 15


def test_a_lost_process_is_made_good(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    assert list(in_order(math.sqrt, range(9), workers=2, patience=0)) == [math.sqrt(i) for i in range(9)]


def test_a_function_that_others_cannot_find_is_called_here():
    def local(x):
        return x + 1

    assert list(in_order(local, range(3), workers=2, patience=0)) == [1, 2, 3]


def test_no_workers_is_a_mistake():
    with pytest.raises(ValueError, match="workers is 0"):
        list(in_order(math.sqrt, [1.0], workers=0))


def test_a_script_needs_no_guard(tmp_path):
    """The script is run once, though other processes work for it."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "import math\n"
        "from graphgan.processes import in_order\n"
        "print(len(list(in_order(math.sqrt, range(200), workers=2, patience=0))))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={"PYTHONPATH": str(root)}, check=True
    )
    assert done.stdout.split() == ["once", "200"]
