import pytest
import torch

from graphgan.checkpoint import CheckpointError, load_checkpoint, save_checkpoint


def test_round_trip_and_no_leftovers(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {"weights": {"w": torch.arange(3)}, "step": 7, "name": "x"})
    content = load_checkpoint(tmp_path / "a.pt")
    assert content["step"] == 7 and content["weights"]["w"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(tmp_path / "a.pt", {"step": 2, "bad": lambda: None})
    assert load_checkpoint(tmp_path / "a.pt")["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"a\.pt: could not be written"):
        save_checkpoint(tmp_path / "a.pt", {"step": 1})
    assert not list(tmp_path.iterdir())


def test_code_is_not_loaded(tmp_path):
    import os

    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({"format": 1, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"evil\.pt: not a readable checkpoint"):
        load_checkpoint(tmp_path / "evil.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable checkpoint"),
        (b"PK\x03\x04 cut", "not a readable checkpoint"),
        (None, "no such checkpoint"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_foreign_and_newer_files_are_refused(tmp_path):
    torch.save({"w": 1}, tmp_path / "foreign.pt")
    torch.save({"format": 99}, tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match="not a graphgan checkpoint"):
        load_checkpoint(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="checkpoint format 99, this version reads 1"):
        load_checkpoint(tmp_path / "newer.pt")
