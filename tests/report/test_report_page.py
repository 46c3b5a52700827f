import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from pymatgen.core import Structure
from toy_crystals import CUBE, FCC, rock_salt, strontium_titanate

from graphgan.report import evaluate
from graphgan.report.explanations import EXPLANATIONS, GROUPS
from graphgan.report.page import render
from graphgan.stability.result import Row, Stability


class Outline(HTMLParser):
    """Collects every address that a browser could load, and the tags that are left open."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "stop", "use", "path", "line", "circle", "rect"})

    def __init__(self):
        super().__init__()
        self.loads, self.open, self.identifiers = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loads += [(tag, attrs[name]) for name in ("src", "href", "xlink:href", "action") if name in attrs]
        self.identifiers += [attrs["id"]] if "id" in attrs else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def outline_of(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert [load for load in outline.loads if not load[1].startswith("#")] == []
    assert len(outline.identifiers) == len(set(outline.identifiers))
    assert {load[1][1:] for load in outline.loads} <= set(outline.identifiers)
    return outline


def toy_crystals(rng, count, pairs=(("Na", "Cl"), ("Mg", "O"), ("Ca", "S"), ("K", "F"))):
    """Rock salts with cells that differ by a few per cent."""
    chosen = [pairs[i] for i in rng.integers(len(pairs), size=count)]
    return [
        Structure(CUBE(rng.uniform(4.8, 5.6)), [first] * 4 + [second] * 4, [*FCC, *(FCC + 0.5)])
        for first, second in chosen
    ]


def energies(values):
    rows = tuple(Row(reason="lost") if v is None else Row(-3.0, -1.0, v, True, 9, 0.1, 0.0) for v in values)
    return Stability(rows, "made-up 1.0", 0.05, 200, 20, notes=("energies are made up",))


@pytest.fixture(scope="module")
def full():
    """Everything that an evaluation can compute of crystals of two elements."""
    rng = np.random.default_rng(0)
    samples = [*toy_crystals(rng, 28), None, Structure(CUBE(4), ["Na", "Cl"], [[0, 0, 0], [0.05, 0, 0]])]
    reference, train = toy_crystals(rng, 24), toy_crystals(rng, 24)
    stability = energies([*np.linspace(0.27, 0, 28).tolist(), None, None])
    return evaluate(samples, reference, train, benchmark="mp_20", genmetrics=True, stability=stability, workers=1)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    perovskite, salt = strontium_titanate(), rock_salt()
    broken = Structure(CUBE(4), ["Na", "Cl"], [[0, 0, 0], [0.05, 0, 0]])
    log = [{"stage": "autoencoder", "step": i, "seconds": 0.1 * i, "loss": 1 / (i + 1)} for i in range(1000)]
    log += [{"stage": "<latent>", "step": i, "wasserstein": float(i), "note": "text"} for i in range(3)]
    log += [{"stage": "<latent>", "step": 3, "wasserstein": float("nan")}]
    report = evaluate([perovskite, broken, None], [salt, perovskite] * 3, ids=["<b>x</b>", "y", "z"], workers=1)
    path = report.save(
        tmp_path_factory.mktemp("report"), title="A & <script>", log=log, details={"<seed>": "0</script>"}
    )
    return path.read_text(encoding="utf-8")


def test_page_is_self_contained_and_well_formed(page):
    outline_of(page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page
    assert len(page) < 2.5e6


def test_everything_named_by_users_is_escaped(page):
    assert "A &amp; &lt;script&gt;" in page
    for text in ("<b>x</b>", "<script>alert", "<latent>", "0</script>"):
        assert text not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page


def test_crystals_are_in_the_page(page):
    data = json.loads(re.search(r'id="crystal-data">(.*?)</script>', page, re.DOTALL)[1])
    assert len(data) == page.count('class="card"') == 2 + 4
    symbols = {element["symbol"] for crystal in data for element in crystal["elements"]}
    assert symbols == {"Sr", "Ti", "O", "Na", "Cl"}
    assert "SrTiO<sub>3</sub>" in page
    assert "not valid: atoms 0.20\N{NO-BREAK SPACE}Å apart" in page


def test_every_stage_has_its_curves(page):
    assert page.count("<h3>autoencoder</h3>") == page.count("<h3>&lt;latent&gt;</h3>") == 1
    assert ">wasserstein<" in page
    assert ">note<" not in page


def test_every_metric_of_every_evaluation_is_explained_and_no_other(full):
    rng = np.random.default_rng(1)
    carbon = toy_crystals(rng, 4, pairs=(("C", "C"),))
    one_element = evaluate(carbon, train=carbon[:2], tolerances="mattergen", workers=1)
    assert {*full.metrics, *one_element.metrics} == set(EXPLANATIONS)
    assert all(about.meaning for about in EXPLANATIONS.values())


def test_full_page_has_every_section_and_every_group(full):
    page = render(full, title="full", log=[{"step": 1, "loss": 1.0}])
    outline_of(page)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Read this first",
        "Metrics",
        "Published results",
        "What is missing",
        "Sizes and bonds",
        "Crystals",
        "Distributions",
        "Training",
        "Details",
    ]
    groups = re.findall(r'scope="rowgroup">(.*?)<', page)
    assert groups == [group for group in GROUPS if group != "Evaluation"]
    assert all(f"<code>{name}</code>" in page for name in full.metrics if name != "wall_seconds")
    for caption in ("Cell edges", "Cell angles", "Na–Cl bonds", "Symmetry"):
        assert f"<figcaption>{caption}</figcaption>" in page


CARBON = Structure(CUBE(3.57), ["C"] * 8, [*FCC, *(FCC + 0.25)])


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        ([None], {}),
        ([None, None], {"reference": [rock_salt()], "train": [rock_salt()], "benchmark": "mp_20"}),
        ([rock_salt()], {}),
        ([rock_salt()], {"reference": [rock_salt()], "benchmark": "perov_5"}),
        ([CARBON] * 3, {"reference": [CARBON] * 3, "train": [CARBON], "benchmark": "carbon_24"}),
        ([CARBON, None], {"stability": energies([None, None])}),
        ([Structure(CUBE(3), ["Po"], [[0, 0, 0]])], {"reference": [rock_salt()]}),
        ([Structure(CUBE(0.3), ["Po"], [[0, 0, 0]])], {"reference": [rock_salt()]}),
    ],
)
def test_small_and_failed_sets_have_pages_without_empty_sections(samples, options):
    report = evaluate(samples, workers=1, **options)
    page = render(report, title="small", log=[])
    outline_of(page)
    assert ('class="card"' in page) == ("reference" in options or any(s is not None and s.volume > 1 for s in samples))
    assert 'id="training"' not in page
    for body in re.findall(r"<section.*?</h2>(.*?)</section>", page, re.DOTALL):
        assert re.search(r"<(td|li|svg|button)", body)
    for body in re.findall(r"<tbody.*?</tbody>", page, re.DOTALL):
        assert "<td" in body
    assert ('id="what-is-missing"' in page) == ('id="published-results"' in page or "reference" in options)
    assert ('id="distributions"' in page) == (report.metrics["structural_validity"] > 0)


def test_a_page_of_many_samples_is_made_fast_and_stays_small(full):
    def repeated(values):
        return {name: column * 350 for name, column in values.items()}

    many = replace(
        full,
        per_structure=[{**row, "index": i, "id": i} for i, row in enumerate(full.per_structure * 350)],
        samples=list(full.samples) * 350,
        reference=list(full.reference) * 350,
        distributions={side: repeated(values) for side, values in full.distributions.items()},
    )
    start = time.perf_counter()
    page = render(many, title="many")
    assert time.perf_counter() - start < 5
    assert len(page.encode()) < 2.5e6
    assert page.count('class="card"') == 12 + 4 + 4 + 4


def test_import_is_cheap():
    code = "import sys, graphgan.report; print({'pymatgen', 'matplotlib', 'torch', 'scipy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
