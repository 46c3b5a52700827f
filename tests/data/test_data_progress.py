"""A bar appears only when work takes long, and many processes read what one reads."""

from graphgan.data import progress, read


def test_a_bar_only_when_it_takes_long(capsys, monkeypatch):
    assert list(progress.with_bar(range(3), "Reading", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "PATIENCE", -1)
    assert list(progress.with_bar(range(3), "Reading", 3)) == [0, 1, 2]
    assert "Reading" in capsys.readouterr().err
    assert list(progress.with_bar(range(3), "Reading", 3, shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_processes_read_what_one_process_reads(cscl_cif, tmp_path, monkeypatch):
    monkeypatch.setattr("graphgan.processes.PATIENCE", 0)
    for i in range(120):
        (tmp_path / f"{i:03}.cif").write_text(cscl_cif if i % 7 else "junk")
    alone, together = (read(tmp_path, workers=workers, cache=False) for workers in (1, 2))
    assert together.ids == alone.ids and together.skipped == alone.skipped
    assert together.structures == alone.structures and len(alone.structures) == 102
