import re

import pytest

from graphgan.report import histograms, shortfalls, tables
from graphgan.report.published import COLUMNS, published_rows
from graphgan.report.result import Report


def report_of(metrics, **parts):
    facts = {"per_structure": [], "warnings": [], "settings": {}, **parts}
    return Report(metrics=metrics, **facts)


def cells(html):
    """The rows of a table as lists of plain text."""
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    return [[re.sub(r"<.*?>", "", c) for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def test_groups_without_rows_vanish_and_unknown_metrics_are_shown():
    report = report_of({"num_samples": 3, "validity": 0.5, "uniqueness": 0.25, "<new>": 0.125})
    rows = cells(tables.metrics_table(report))[1:]
    assert [row[0] for row in rows if len(row) == 1] == ["Validity", "Variety", "Other"]
    assert ["&lt;new&gt;", "0.125", "", " &lt;new&gt;"] in rows
    assert [row[1] for row in rows if row[0] == "Uniqueness&nbsp;↑"] == ["25.00 %"]


@pytest.mark.parametrize(
    ("value", "num_valid", "num_reference", "badge"),
    [(0.3, 100, 100, True), (0.3001, 100, 100, False), (0.0, 99, 5000, False), (0.0, 5000, 99, False)],
)
def test_distances_within_the_noise_floor_are_marked(value, num_valid, num_reference, badge):
    report = report_of(
        {"num_samples": 200, "density_wasserstein": value},
        noise_floor={"density_wasserstein": 0.2},
        settings={"num_valid": num_valid, "num_reference": num_reference},
    )
    table = tables.metrics_table(report)
    assert (table.count("as real") == 2) == badge  # in its row and in the note
    assert (table.count("as real") == 0) != badge
    assert "0.2 g/cm³</td>" in table


def test_missing_classes_and_regressors_stand_beside_what_real_crystals_score():
    report = report_of(
        {"num_samples": 9, "missing_elements": 4, "gan_train_volume_mae": 2.5, "real_volume_mae": 1.5},
        details={"missing": {"elements": {"missing": 4, "of": 7, "expected": 1.25}}},
    )
    rows = {row[0].removesuffix("&nbsp;↓"): row[1:3] for row in cells(tables.metrics_table(report))}
    assert rows["Elements never made"] == ["4", "1.2"]
    assert rows["GAN-train, volume"] == ["2.5 Å³", "1.5 Å³"]


def test_published_rows_stand_above_ours():
    metrics = {
        "num_samples": 1000,
        "structural_validity": 1.0,
        "compositional_validity": 0.9,
        "density_wasserstein": 0.1,
        "num_elements_wasserstein": 0.5,
    }
    table = tables.published_table(report_of(metrics, settings={"benchmark": "mp_20", "num_reference": 700}))
    head, *rows = cells(table)
    published = published_rows("mp_20")
    assert len(head) == 2 + len(COLUMNS)
    assert [row[0] for row in rows] == [*(p.model for p in published), "These samples"]
    assert rows[-1] == ["These samples", "–", "100.00", "90.00", "–", "–", "0.1", "0.5"]
    assert rows[[p.model for p in published].index("CDVAE")] == [
        *("CDVAE", "5,000", "100.00", "86.70", "99.15", "99.49", "0.6875", "1.432")
    ]
    assert re.findall(r"<b>(.*?)</b>", table) == [
        "100.00",
        "100.00",
        "99.71",
        "90.31",
        "99.83",
        "0.0694",
        "100.00",
        "0.1",
    ]
    assert re.findall(r"<tr class=ours>.*?</tr>", table) == [re.findall(r"<tr.*?</tr>", table)[-1]]
    assert "1,000, against 700 real crystals:" in table
    assert all(table.count(source) == 1 for source in {p.source for p in published})


def test_columns_that_no_paper_fills_are_left_out():
    metrics = {"num_samples": 5, "compositional_validity": 1.0, "num_elements_wasserstein": 0.0}
    head, *rows = cells(tables.published_table(report_of(metrics, settings={"benchmark": "carbon_24"})))
    assert [cell.split("&")[0] for cell in head[2:]] == [
        *("Validity, structural (%)", "COV-R (%)", "COV-P (%)", "Density (g/cm³)")
    ]
    assert rows[-1] == ["These samples", *"–––––"]
    assert tables.published_table(report_of({"num_samples": 5}, settings={"benchmark": None})) == ""


def test_missing_classes_are_named():
    groups = [[n, 0.2] for n in (14, 1)] + [[n, 0.005] for n in range(20, 38)]
    found = {
        "elements": {"missing": 0, "of": 3, "expected": 0.04, "share_of_reference": 0.0, "most_frequent": []},
        "spacegroups": {
            "missing": 50,
            "of": 1060,
            "expected": 2.0,
            "share_of_reference": 0.456,
            "most_frequent": groups,
        },
        "prototypes": {"missing": 0, "of": 0, "expected": 0.0, "share_of_reference": 0.0, "most_frequent": []},
    }
    _, elements, spacegroups = cells(shortfalls.missing(found))
    assert elements == ["Elements", "0 of 3", "0.0", "0 %", "none"]
    assert spacegroups[:4] == ["Space groups", "50 of 1,060", "2.0", "46 %"]
    assert spacegroups[4].startswith("P2₁/c (14) 20 % P1 (1) 20 % C222₁ (20) 0.5 %")
    assert spacegroups[4].endswith("and 40 more")
    assert shortfalls.missing({}) == shortfalls.missing({"prototypes": found["prototypes"]}) == ""


def bond(pair, real, made=None, count=30, wasserstein=0.0):
    row = {"pair": pair, "real_count": 1000, "count": count, "real_mean": real[0], "real_std": real[1]}
    return row if made is None else {**row, "mean": made[0], "std": made[1], "wasserstein": wasserstein}


def test_bond_lengths_are_judged_worst_first():
    pairs = [
        bond("C-H", (1.1, 0.02), None, 0),
        bond("O-Ti", (1.95, 0.05), (2.01, 0.05), wasserstein=0.06),
        bond("Cl-Na", (2.8, 0.05), (2.74, 0.05), wasserstein=0.07),
        bond("C-C", (1.5, 0.0), (1.505, 0.019), wasserstein=0.005),
        bond("N-N", (1.1, 0.0), (1.1, 0.021), wasserstein=0.01),
        bond("O-O", (1.2, 0.1), (2.0, 0.1), count=19, wasserstein=0.8),
    ]
    rows = cells(shortfalls.bond_lengths(pairs))[1:]
    assert [(row[0], row[5]) for row in rows] == [
        ("O–O", ""),  # too few atoms to judge
        ("Na–Cl", "short"),
        ("Ti–O", "long"),
        ("N–N", "scattered"),
        ("C–C", ""),
        ("C–H", ""),
    ]
    assert rows[2] == ["Ti–O", "1.95 ± 0.05", "1,000", "2.01 ± 0.05", "30", "long"]
    assert rows[-1][3:5] == ["–", "0"]
    assert "3 more pairs" in shortfalls.bond_lengths(pairs[:3] * 5)


def test_validity_by_size_is_drawn_to_scale():
    bins = {"1-4": {"count": 1200, "validity": 0.875}, "21+": {"count": 1, "validity": 0.0}}
    html = shortfalls.validity_by_size(bins)
    assert [row[:1] + row[2:] for row in cells(html)[1:]] == [["1–4", "87.5 %", "1,200"], ["21+", "0.0 %", "1"]]
    assert re.findall(r"width: ([\d.]+)%", html) == ["87.5", "0.0"]


def test_charts_of_one_class_are_left_out_and_wide_ranges_become_histograms():
    one = {
        "density": [3.5],
        "nearest_neighbours": [(1.5, 1.5)],
        "num_atoms": [2],
        "num_elements": [1],
        "elements": [{"C": 1.0}],
        "bonds": [],
        "cell_lengths": [()],
        "cell_angles": [()],
        "spacegroup": [None],
    }
    assert re.findall("<figcaption>(.*?)<", histograms.render(one, None)) == [
        *("Density", "Nearest neighbours", "Symmetry")
    ]
    assert "Atoms per cell" in histograms.render({**one, "num_atoms": [1, 100_000]}, one)
    assert histograms.render({**one, "density": []}, one) == ""
