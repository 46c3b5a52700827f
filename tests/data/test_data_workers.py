"""Parsing on several processes gives what one gives, from any script, and survives the loss of a process."""

import subprocess
import sys
from pathlib import Path

from graphgan.data import progress, workers
from graphgan.data.entries import Entry, Options

OPTIONS = Options(check=True, max_atoms=None)


def entries(cif, count=230):
    return [Entry(f"{i}", f"{i}", "cif", cif if i % 7 else "junk") for i in range(count)]


def shown(outcomes):
    return [
        (entry.name, crystal if isinstance(crystal, str) else len(crystal.numbers))
        for entry, ((_, crystal),) in outcomes
    ]


def test_processes_change_nothing(cscl_cif):
    alone = shown(workers.parse_all(entries(cscl_cif), OPTIONS, 1))
    assert shown(workers.parse_all(entries(cscl_cif), OPTIONS, 2, patience=0)) == alone
    assert len(alone) == 230


def test_a_lost_process_is_made_good(cscl_cif, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    assert len(shown(workers.parse_all(entries(cscl_cif), OPTIONS, 2, patience=0))) == 230


def test_a_bar_only_when_it_takes_long(capsys, monkeypatch):
    assert list(progress.with_bar(range(3), "Reading", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "PATIENCE", -1)
    assert list(progress.with_bar(range(3), "Reading", 3)) == [0, 1, 2]
    assert "Reading" in capsys.readouterr().err
    assert list(progress.with_bar(range(3), "Reading", 3, shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_script_needs_no_guard(tmp_path, cscl_cif):
    """The script is run once, though other processes parse for it."""
    (tmp_path / "a.cif").write_text(cscl_cif)
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from graphgan.data import workers\n"
        "from graphgan.data.entries import Entry, Options\n"
        f"cif = open({str(tmp_path / 'a.cif')!r}).read()\n"
        "entries = [Entry('a', 'a', 'cif', cif)] * 200\n"
        "found = list(workers.parse_all(entries, Options(True, None), 2, patience=0))\n"
        "print(len(found))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root)},
        check=True,
    )
    assert done.stdout.split() == ["once", "200"]
