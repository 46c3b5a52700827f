"""The examples of docs/data.md run as they stand."""

import re
from pathlib import Path


def test_examples(tmp_path, monkeypatch):
    page = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    monkeypatch.chdir(tmp_path)
    for example in examples:
        exec(compile(example, "docs/data.md", "exec"), {})
    assert len(list((tmp_path / "crystals").iterdir())) == 11
