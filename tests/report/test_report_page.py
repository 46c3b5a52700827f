import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.report import crystals, evaluate

CUBE = Lattice.cubic
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def rock_salt():
    return Structure(CUBE(5.64), ["Na"] * 4 + ["Cl"] * 4, [*FCC, *(FCC + 0.5)])


def strontium_titanate():
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(CUBE(3.905), ["Sr", "Ti", "O", "O", "O"], sites)


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


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    perovskite, salt = strontium_titanate(), rock_salt()
    broken = Structure(CUBE(4), ["Na", "Cl"], [[0, 0, 0], [0.05, 0, 0]])
    log = [{"stage": "autoencoder", "step": i, "seconds": 0.1 * i, "loss": 1 / (i + 1)} for i in range(1000)]
    log += [{"stage": "<latent>", "step": i, "wasserstein": float(i), "note": "text"} for i in range(3)]
    log += [{"stage": "<latent>", "step": 3, "wasserstein": float("nan")}]
    report = evaluate([perovskite, broken, None], [salt, perovskite] * 3, ids=["<b>x</b>", "y", "z"])
    path = report.save(
        tmp_path_factory.mktemp("report"), title="A & <script>", log=log, details={"<seed>": "0</script>"}
    )
    return path.read_text(encoding="utf-8")


def test_page_is_self_contained_and_well_formed(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert [load for load in outline.loads if not load[1].startswith("#")] == []
    assert len(outline.identifiers) == len(set(outline.identifiers))
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page
    assert len(page) < 3e6


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
    assert "not valid" in page


def test_every_stage_has_its_curves(page):
    assert page.count("<h3>autoencoder</h3>") == page.count("<h3>&lt;latent&gt;</h3>") == 1
    assert ">wasserstein<" in page
    assert ">note<" not in page


def test_page_without_reference_log_or_valid_crystals(tmp_path):
    page = evaluate([None]).save(tmp_path).read_text(encoding="utf-8")
    assert 'id="training"' not in page
    assert 'class="card"' not in page


def bonds(structure):
    scene = crystals.scene(structure)
    pairs = [tuple(sorted((scene.symbols[i], scene.symbols[j]))) for i, j in scene.bonds]
    return len(scene.symbols), {pair: pairs.count(pair) for pair in pairs}


def test_bonds_of_known_structures():
    assert bonds(rock_salt()) == (27, {("Cl", "Na"): 54})
    diamond = Structure(CUBE(3.57), ["C"] * 8, [*FCC, *(FCC + 0.25)])
    assert bonds(diamond) == (18, {("C", "C"): 16})
    assert bonds(strontium_titanate()) == (15, {("O", "Ti"): 6})
    chloride = Structure(CUBE(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
    assert bonds(chloride) == (9, {("Cl", "Cs"): 8})
    iron = Structure(CUBE(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5] * 3])
    assert bonds(iron) == (9, {("Fe", "Fe"): 8})


def test_boundary_copies_reach_across_small_displacements():
    scene = crystals.scene(Structure(CUBE(4), ["Po"], [[0.99, 0.01, -0.02]]))
    assert len(scene.symbols) == 8
    assert np.allclose(np.ptp(scene.positions, axis=0), 4)


def test_space_group_symbols_are_short():
    assert [crystals.space_group_symbol(n) for n in (1, 8, 14, 221)] == ["P1", "Cm", "P2₁/c", "Pm-3m"]


def test_import_is_cheap():
    code = "import sys, graphgan.report; print({'pymatgen', 'matplotlib', 'torch', 'scipy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
