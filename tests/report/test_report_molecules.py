import csv
import json
import random
import re
import subprocess
import sys
from html import unescape

import numpy as np
import pytest

pytest.importorskip("rdkit")
from rdkit import Chem
from test_report_page import outline_of

from graphgan.metrics import molecules as metrics
from graphgan.report import molecule_findings
from graphgan.report.molecule_drawings import drawing
from graphgan.report.molecule_explanations import MOLECULES
from graphgan.report.molecule_gallery import NUM_FAILED, NUM_FIRST
from graphgan.report.molecule_rows import COLUMNS, failure_of, failures_by_kind, kind_of_failure
from graphgan.report.molecules import DISTANCES, evaluate_molecules
from graphgan.report.published import MOLECULE_COLUMNS, published_rows
from graphgan.rewards import REWARDS, Product, RewardError

TRAIN = ("CCO", "CC", "C1CC1", "CC(=O)O", "CCN")
REFERENCE = ["CC", "CCO", "CCN", "O=CC1CC1", "CC#N", "c1ccoc1", "CC(C)=O", "C=CC", "OCC1CO1", "CNC=O"] * 12
# 4 ethanol, 2 cyclopropyl ketones, benzene, acetonitrile; one in pieces; carbon of valence 5, a bad ring, a failure.
SMILES = ["CCO", "OCC", "CCO", "CC(=O)C1CC1", "CC(=O)C1CC1", "c1ccccc1", "CC#N", "CCO"]
RAW = [*[""] * 9, "CC(C)(C)(C)C", "c1cccc1", ""]


def mol(smiles):
    found = Chem.MolFromSmiles(smiles)
    assert found is not None, smiles
    return found


def twelve():
    return [*map(mol, SMILES), mol("CC.O"), None, None, None]


def cells(html):
    """The rows of a table as lists of plain text."""
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    return [[re.sub(r"<.*?>", "", c) for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


@pytest.fixture(scope="module")
def report():
    return evaluate_molecules(
        twelve(),
        train=TRAIN,
        reference=REFERENCE,
        rewards=tuple(REWARDS),
        raw=RAW,
        ids=["<b>x</b>", *"bcdefghijkl"],
        benchmark="qm9",
        workers=1,
    )


def test_truth_table(report):
    numbers = report.metrics
    expected = {
        "num_samples": 12,
        "validity": 8 / 12,
        "fragmented": 1 / 12,
        "decode_failures": 3 / 12,
        "uniqueness": 4 / 8,
        "novelty": 4 / 8,
        "unique_novel_valid": 3 / 12,
        "validity_molgan": 9 / 12,
        "uniqueness_molgan": 5 / 9,
        "novelty_molgan": 5 / 9,
        "reward_validity": 1,
        "reward_novelty": 4 / 8,
        "reward_uniqueness": (4 * 0.25 + 2 * 0.5 + 2) / 8,
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert report.settings["num_valid"] == 8 and report.settings["num_train"] == 5
    assert report.settings["num_reference"] == 120
    assert report.details["most_repeated"] == [["CCO", 4], ["CC(=O)C1CC1", 2]]
    assert report.details["failures"] == {
        "C of valence 5": 1,
        "an aromatic ring without a Kekulé form": 1,
        "no molecule": 1,
        "several fragments": 1,
    }


def test_rewards_are_means_over_valid_samples_and_the_product_counts_failures(report):
    valid = twelve()[:8]
    for name in ("qed", "logp", "sa"):
        assert report.metrics[f"reward_{name}"] == pytest.approx(REWARDS[name](valid, set()).mean(), abs=1e-12)
    values = np.prod([function(valid, set(TRAIN)) for function in REWARDS.values()], axis=0)
    assert report.metrics["reward_product"] == pytest.approx(values.sum() / 12, abs=1e-12)
    assert 0 < report.metrics["reward_product"] < 0.1


def test_numbers_are_those_of_the_metrics(report):
    valid, reference = twelve(), [mol(text) for text in REFERENCE]
    names = {"atoms": "atom", "bonds": "bond", "rings": "ring_size", "groups": "group"}
    for name in metrics_of("NUMBERS"):
        assert report.metrics[f"{name}_wasserstein"] == metrics.property_wasserstein(valid, reference, name) > 0
    for name in metrics_of("CLASSES"):
        key = f"{names.get(name, name)}_total_variation"
        assert report.metrics[key] == metrics.class_total_variation(valid, reference, name) > 0
    assert report.metrics["internal_diversity"] == metrics.internal_diversity(valid)
    assert report.noise_floor.keys() == DISTANCES.keys()
    assert all(value >= 0 for value in report.noise_floor.values())


def metrics_of(name):
    from graphgan.metrics import molecule_profiles

    return getattr(molecule_profiles, name)


def test_every_metric_is_explained_and_no_other(report):
    assert set(report.metrics) == set(MOLECULES.explanations)
    assert all(about.meaning for about in MOLECULES.explanations.values())
    assert set(MOLECULES.headlines) <= set(MOLECULES.explanations)


def test_order_and_spelling_change_no_number(report):
    order = random.Random(1).sample(range(12), 12)
    turned = [
        None if m is None else Chem.RenumberAtoms(m, list(range(m.GetNumAtoms()))[::-1])
        for m in map(twelve().__getitem__, order)
    ]
    other = evaluate_molecules(
        turned,
        train=list(TRAIN)[::-1],
        reference=[mol(text) for text in REFERENCE[::-1]],
        rewards=tuple(REWARDS),
        raw=[RAW[i] for i in order],
        workers=1,
    )
    ours, theirs = ({k: v for k, v in r.metrics.items() if k != "wall_seconds"} for r in (report, other))
    assert ours == theirs
    assert report.noise_floor == other.noise_floor and report.details == other.details


def test_other_processes_give_the_same(report, monkeypatch):
    from graphgan import processes

    monkeypatch.setattr(processes, "PATIENCE", 0.0)
    other = evaluate_molecules(twelve(), train=TRAIN, reference=REFERENCE, rewards=("qed", "sa"), raw=RAW, workers=2)
    shared = other.metrics.keys() - {"wall_seconds", "reward_product"}
    assert len(shared) > 20
    assert {name: other.metrics[name] for name in shared} == {name: report.metrics[name] for name in shared}


def test_rows(report):
    rows = report.per_molecule
    assert [row["valid"] for row in rows] == [True] * 8 + [False] * 4
    assert [row["unique"] for row in rows] == [True, False, False, True, False, True, True] + [False] * 5
    assert [row["novel"] for row in rows] == [False] * 3 + [True] * 4 + [False] * 5
    assert [row["sanitised"] for row in rows] == [True] * 9 + [False] * 3
    assert [row["fragments"] for row in rows] == [1] * 8 + [2] + [""] * 3
    assert [row["smiles"] for row in rows][7:] == ["CCO", "CC.O", "CC(C)(C)(C)C", "c1cccc1", ""]
    assert [row["failure"] for row in rows][8:] == [
        "2 fragments",
        "Explicit valence for atom # 1 C, 5, is greater than permitted",
        "Can't kekulize mol. Unkekulized atoms: 0 1 2 3 4",
        "no molecule",
    ]
    ethanol = rows[0]
    assert (ethanol["num_atoms"], ethanol["num_rings"]) == (3, 0)
    assert ethanol["log_p"] == pytest.approx(-0.0014) and ethanol["qed"] == pytest.approx(0.406808, abs=1e-6)
    assert ethanol["reward_uniqueness"] == 0.25 and ethanol["reward_novelty"] == 0
    assert rows[9]["qed"] == "" and rows[9]["reward_qed"] == 0


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    log = [{"stage": "<gan>", "step": i, "validity": 1 - 1 / (i + 1)} for i in range(5)]
    folder = tmp_path_factory.mktemp("report") / "new"
    path = report.save(folder, title="A & <script>", log=log, details={"<seed>": "0</script>"})
    assert path == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_files(folder):
    saved = json.loads((folder / "metrics.json").read_text())
    assert saved["validity"] == 8 / 12 and saved["settings"]["rewards"] == ", ".join(REWARDS)
    with open(folder / "per_molecule.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, *(f"reward_{name}" for name in REWARDS)]
    assert len(rows) == 12 and rows[9]["smiles"] == "CC(C)(C)(C)C" and rows[9]["valid"] == "False"


def test_page_is_self_contained_well_formed_and_escaped(page):
    outline_of(page)
    assert len(page) < 600_000
    assert "3Dmol" not in page and "per_molecule.csv" in page
    for text in ("<b>x</b>", "<script>", "<gan>", "0</script>"):
        assert text not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "A &amp; &lt;script&gt;" in page


def test_page_has_every_section_and_every_group(report, page):
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        *(
            "Read this first",
            "Metrics",
            "Published results",
            "Molecules",
            "Failures",
            "Distributions",
            "Training",
            "Details",
        )
    ]
    assert re.findall(r'scope="rowgroup">(.*?)<', page) == [g for g in MOLECULES.groups if g != "Evaluation"]
    assert all(f"<code>{name}</code>" in page for name in report.metrics if name != "wall_seconds")
    captions = re.findall("<figcaption>(.*?)<", page)
    assert captions == [
        *("logP", "QED", "SA", "Weight", "Heavy atoms", "Rings", "Atoms", "Bonds", "Ring sizes", "Functional groups")
    ]
    assert (
        "12 samples · compared with 120 real molecules · novelty against 5 training molecules · benchmark QM9" in page
    )


def test_published_rows_stand_above_ours_counted_in_the_same_way(page):
    table = re.search(r'<table class="published">.*?</table>', page, re.DOTALL)[0]
    head, *rows = cells(table)
    assert [unescape(cell).split("\xa0")[0] for cell in head[2:]] == ["Valid (%)", "Unique (%)", "Novel (%)"]
    assert rows == [
        ["CharacterVAE", "–", "10.30", "67.50", "90.00"],
        ["GraphVAE", "1", "55.70", "76.00", "61.60"],
        ["MolGAN", "1", "98.10", "10.40", "94.20"],
        ["These samples", "–", "75.00", "55.56", "55.56"],
    ]
    assert all(set(row.metrics) == set(MOLECULE_COLUMNS) for row in published_rows("qm9"))
    assert "arXiv:1805.11973" in page


def drawn_in(page):
    """The SMILES under each heading of the drawings."""
    kinds = re.split(r'<h3 class="kind">', re.search(r'<div class="cards still">.*?</section>', page, re.DOTALL)[0])[1:]
    return {kind.split("<")[0]: re.findall(r"<code>(.*?)</code>", kind) for kind in kinds}


def test_molecules_are_drawn_for_a_reason(page):
    shown = drawn_in(page)
    assert list(shown) == [*("The first valid samples", "Most repeated", "Failures", "Real molecules, drawn at random")]
    assert shown["The first valid samples"] == [Chem.CanonSmiles(text) for text in SMILES]
    assert shown["Most repeated"] == ["CCO", "CC(=O)C1CC1"]
    assert sorted(shown["Failures"]) == ["CC(C)(C)(C)C", "CC.O", "c1cccc1"]
    assert len(shown["Real molecules, drawn at random"]) == 12
    assert "4 times" in page and "33 % of the samples" in page
    assert "C<sub>2</sub>H<sub>6</sub>O" in page
    assert page.count('class="bad"') == 3


def test_best_are_distinct_and_failures_of_every_kind_come_first():
    chains = ["C" * n for n in range(1, 16)]
    samples = [*map(mol, [*chains, *chains]), *[mol("C.C")] * 20, None, None]
    raw = [*[""] * 50, "CC(C)(C)(C)C", "FF(F)F"]
    report = evaluate_molecules(samples, raw=raw, rewards=(), workers=1)
    shown = drawn_in(report.render(title=""))
    assert len(shown["The first valid samples"]) == NUM_FIRST
    best = sorted((-row["qed"], row["smiles"]) for row in report.per_molecule[:15])[:12]
    assert shown["Best by QED"] == [smiles for _, smiles in best]
    assert shown["Failures"] == ["C.C", "CC(C)(C)(C)C", "FF(F)F"] + ["C.C"] * (NUM_FAILED - 3)


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        ([None], {}),
        ([None, None], {"reference": ["CC"], "train": ["CC"], "benchmark": "qm9"}),
        ([mol("C")], {}),
        ([mol("C")], {"reference": ["C"], "train": ["C"], "rewards": ()}),
        ([mol("C.C"), mol("")], {"reference": ["CC"], "train": ["C"]}),
        ([mol("C*")], {"rewards": ("validity",)}),
        ([mol("C" * 200)], {"reference": ["C" * 200]}),
        ([Chem.MolFromSmiles("CC(C)(C)(C)C", sanitize=False)], {"reference": ["CC"]}),
        ([mol("[2H]C"), mol("[CH2]"), mol("[Na+].[Cl-]"), mol("[Cl-]"), mol("[H][H]")], {"train": ["C"]}),
    ],
)
def test_extremes_give_numbers_and_pages_without_empty_sections(samples, options, tmp_path):
    report = evaluate_molecules(samples, workers=1, **options)
    json.dumps(report.as_dict(), allow_nan=False)
    shares = ("validity", "fragmented", "decode_failures", "validity_molgan")
    assert all(0 <= report.metrics[share] <= 1 for share in shares)
    assert ("uniqueness" in report.metrics) == (report.metrics["validity"] > 0)
    assert ("unique_novel_valid" in report.metrics) == ("train" in options)
    assert ("reward_qed" in report.metrics) == (report.metrics["validity"] > 0 and "rewards" not in options)
    page = report.save(tmp_path, log=[]).read_text(encoding="utf-8")
    outline_of(page)
    for body in re.findall(r"<section.*?</h2>(.*?)</section>", page, re.DOTALL):
        assert re.search(r"<(td|li|svg)", body)
    for body in re.findall(r"<tbody.*?</tbody>", page, re.DOTALL):
        assert "<td" in body
    assert ('id="failures"' in page) == (report.metrics["validity"] < 1)
    assert str(report).startswith("metric")


def halved(molecules, train):
    assert all(m is None or m.GetNumAtoms() for m in molecules) and None in molecules
    return np.full(len(molecules), 0.5)


def test_a_reward_of_the_user(report):
    name = f"{__name__}:halved"
    found = evaluate_molecules(twelve(), rewards=(name, "qed"), workers=1)
    assert found.metrics[f"reward_{name}"] == 0.5
    assert found.metrics["reward_product"] == pytest.approx(report.metrics["reward_qed"] * 0.5 * 8 / 12)
    assert [row[f"reward_{name}"] for row in found.per_molecule] == [0.5] * 8 + [0.0] * 4
    assert name in found.render(title="")


def test_product_of_the_report_is_that_of_training(report):
    from graphgan.data.molecules import molecule_of

    arrays = [molecule_of(m) for m in twelve()[:8]]
    values = Product(tuple(REWARDS), TRAIN)(arrays)
    assert values.sum() / 12 == pytest.approx(report.metrics["reward_product"], abs=1e-12)


def test_warnings(monkeypatch):
    def warned(samples, **options):
        return " | ".join(evaluate_molecules(samples, rewards=(), workers=1, **options).warnings)

    assert "no sample is valid" in warned([None])
    few = warned(twelve(), reference=["CC"])
    assert "uniqueness is that of 12 samples" in few and "8.33 % of the samples are in pieces" in few
    assert "mode collapse: 4 of 12 samples are one molecule, CCO" in few
    assert "the reference holds only 1 molecule(s)" in few
    monkeypatch.setattr("graphgan.report.molecules.USUAL_SAMPLES", 100)
    assert warned([mol("C" * (1 + i % 30)) for i in range(95)], reference=REFERENCE) == ""
    assert "uniqueness is that of 85 samples" in warned([mol("C" * (1 + i % 30)) for i in range(85)])
    assert "mode collapse" not in warned([mol("C"), mol("CC")])


def test_a_large_reference_is_drawn_from(monkeypatch):
    monkeypatch.setattr(molecule_findings, "MAX_REFERENCE", 50)
    monkeypatch.setattr("graphgan.report.molecules.MAX_REFERENCE", 50)
    one, two = (
        evaluate_molecules([mol("CC")], reference=side, rewards=(), workers=1) for side in (REFERENCE, REFERENCE[::-1])
    )
    assert one.settings["num_reference"] == 50 and "distances are to 50 of 120" in " ".join(one.warnings)
    assert one.reference == two.reference and one.metrics["weight_wasserstein"] == two.metrics["weight_wasserstein"]


def test_what_rdkit_does_not_read_again_is_left_out_and_said(monkeypatch):
    examine = molecule_findings._examine
    monkeypatch.setattr(
        molecule_findings, "_examine", lambda text, rewards: None if text == "CCO" else examine(text, rewards)
    )
    report = evaluate_molecules(twelve(), reference=REFERENCE, workers=1)
    assert report.metrics["validity"] == 8 / 12 and report.settings["num_reference"] == 108
    assert "1 valid molecule(s) whose SMILES" in " ".join(report.warnings)
    assert report.per_molecule[0]["qed"] == "" and report.per_molecule[0]["reward_qed"] == 0
    outline_of(report.render(title=""))


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([], {}, "samples holds no molecules"),
        ([None], {"reference": []}, "reference holds no molecules"),
        ([None], {"train": []}, "train holds no molecules"),
        ([None], {"ids": ["a", "b"]}, "2 ids for 1 samples"),
        ([None], {"raw": []}, "0 raw for 1 samples"),
        ([None], {"reasons": ["", ""]}, "2 reasons for 1 samples"),
        ([None], {"seed": -1}, "seed is -1"),
        ([None], {"benchmark": "mp_20"}, "unknown benchmark 'mp_20'; known are qm9"),
        ([None], {"rewards": ("novelty",)}, "the reward novelty needs training molecules"),
    ],
)
def test_bad_input_is_refused(samples, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_molecules(samples, **options)


def test_unknown_rewards_are_refused():
    with pytest.raises(RewardError, match="no reward 'beauty'"):
        evaluate_molecules([None], rewards=("beauty",))


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ("3 fragments", "several fragments"),
        ("2 fragments, not one molecule", "several fragments"),
        ("Explicit valence for atom # 11 Cl, 4, is greater than permitted", "Cl of valence 4"),
        ("Can't kekulize mol. Unkekulized atoms: 1 2 3", "an aromatic ring without a Kekulé form"),
        ("non-ring atom 3 marked aromatic", "non-ring atom 3 marked aromatic"),
        ("no molecule", "no molecule"),
    ],
)
def test_kinds_of_failures(failure, kind):
    assert kind_of_failure(failure) == kind
    assert failures_by_kind(["", failure, failure, "a"]) == {kind: 2, "a": 1}


@pytest.mark.parametrize(
    ("sample", "raw", "reason", "failure"),
    [
        (mol("C"), "", "", ""),
        (mol("C.C.C"), "", "", "3 fragments"),
        (mol("C*"), "", "", "a dummy atom"),
        (mol(""), "", "", "no atoms"),
        (None, "", "", "no molecule"),
        (None, "x", "", "not a SMILES"),
        (None, "CF(C)C", "", "Explicit valence for atom # 1 F, 3, is greater than permitted"),
        (None, "CF(C)C", "known already", "known already"),
        (
            Chem.MolFromSmiles("CFC", sanitize=False),
            "",
            "",
            "Explicit valence for atom # 1 F, 2, is greater than permitted",
        ),
    ],
)
def test_why_a_sample_fails(sample, raw, reason, failure):
    assert failure_of(sample, raw, reason) == failure


def test_drawings():
    plain, broken = drawing("CC=O", "acetaldehyde"), drawing("CC(C)(C)(C)C", "no")
    for picture in (plain, broken, drawing("c1cccc1", ""), drawing("C.C", ""), drawing("[NH3+]CC([O-])=O", "")):
        outline_of(picture)
        assert "rdkit" not in picture and "class=" not in picture
    assert 'aria-label="acetaldehyde"' in plain and "#FF0000" in plain
    assert "ellipse" in broken and "ellipse" not in plain
    assert drawing("C1CC", "") is None and drawing("", "") is None and drawing("C" * 151, "") is None


def test_import_is_cheap():
    code = (
        "import sys, graphgan.report.molecules; print({'rdkit', 'pymatgen', 'matplotlib', 'torch'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
