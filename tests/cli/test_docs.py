"""The README's and the docs' own lines run as written."""

import re
import shlex
from pathlib import Path

import pytest

from graphgan.cli.parsing import COMMANDS, parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands():
    """Every `graphgan ...` line of a code block."""
    for page in PAGES:
        for line in page.read_text().splitlines():
            found = re.match(r"(?:    |\$ )(graphgan \w[^#`]*)", line)
            if found:
                yield pytest.param(found[1].strip(), id=f"{page.name}: {found[1].strip()[:40]}")


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S)


@pytest.mark.parametrize("line", list(commands()))
def test_every_command_of_the_docs_parses(line):
    words = shlex.split(line)
    assert words[0] == "graphgan" and words[1] in COMMANDS
    parse(words[1:])


def test_the_readme_has_its_two_commands():
    text = (ROOT / "README.md").read_text()
    assert "pip install -c constraints.txt . && graphgan demo" in text
    assert 'pip install -c constraints.txt ".[dev]" && pytest' in text
    assert 'pip install -q -c constraints.txt ".[dev]"' in (ROOT / ".ci" / "run").read_text()


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_code_of_extending_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in blocks(ROOT / "docs" / "extending.md"):
        exec(compile(code, "extending.md", "exec"), {"__name__": "example"})


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    import graphgan as gg

    monkeypatch.chdir(tmp_path)
    structures = gg.load_dataset("default", split="val")[:12]
    for name in ("train.csv", "val.csv"):
        gg.write_structures(structures, name)
    (code,) = blocks(ROOT / "README.md")
    exec(compile(code.replace("sample(1000", "sample(20"), "README.md", "exec"), {"__name__": "example"})
