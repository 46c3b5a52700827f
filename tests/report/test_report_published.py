import pytest

from graphgan.report.published import BENCHMARKS, COLUMNS, benchmark_of, published_rows


def test_rows_are_those_of_the_papers():
    rows = {row.model: row for row in published_rows("mp_20")}
    assert rows["DiffCSP"].metrics == {
        "structural_validity": 1.0,
        "compositional_validity": 0.8325,
        "coverage_recall": 0.9971,
        "coverage_precision": 0.9976,
        "density_wasserstein": 0.3502,
        "num_elements_wasserstein": 0.3398,
    }
    assert rows["DiffCSP"].passes == 2000 and "2309.04475" in rows["DiffCSP"].source
    assert "compositional_validity" not in published_rows("carbon_24")[0].metrics


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_row_is_in_range(name):
    rows = published_rows(name)
    assert len(rows) >= 5
    for row in rows:
        assert set(row.metrics) <= set(COLUMNS)
        assert all(0 <= value <= 1 for key, value in row.metrics.items() if "wasserstein" not in key)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("data/perov_5/val.csv.gz", "perov_5"),
        ("MP-20.csv", "mp_20"),
        ("mp20", "mp_20"),
        ("sets/Carbon-24/test.csv", "carbon_24"),
        ("mp_2000.csv", None),
        ("comp_20/x.csv", None),
        ("perov_5_and_mp_20.csv", None),
        ("default", None),
    ],
)
def test_benchmark_of_a_path(data, name):
    assert benchmark_of(data) == name


def test_unknown_benchmark():
    with pytest.raises(ValueError, match="carbon_24"):
        published_rows("carbon")
