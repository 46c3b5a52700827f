"""Expected numbers come from matminer 0.10.1: ElementProperty.from_preset("magpie", impute_nan=False)."""

import numpy as np
import pytest
from pymatgen.core import Composition, Element

from graphgan.metrics import magpie

# A line a property: minimum, maximum, range, mean, mean absolute deviation, mode.
STRONTIUM_TITANATE = """
8 38 30 16.8 10.56 8
8 87 79 62.4 29.52 87
15.9994 87.62 71.6206 36.69704 24.837168 15.9994
54.8 1941 1886.2 631.08 691.536 54.8
2 16 14 10.8 6.24 16
2 5 3 3 1.2 2
66 195 129 110.6 53.52 66
0.95 3.44 2.49 2.562 1.0536 3.44
2 2 0 2 0 2
0 4 4 2.4 1.92 4
0 2 2 0.4 0.64 0
0 0 0 0 0 0
2 6 4 4.8 1.44 6
0 0 0 0 0 0
0 2 2 1.2 0.96 2
0 8 8 1.6 2.56 0
0 0 0 0 0 0
0 8 8 2.8 2.08 2
9.105 54.23 45.125 19.647 13.8332 9.105
0 0 0 0 0 0
0 2.253333333e-05 2.253333333e-05 4.506666667e-06 7.210666667e-06 0
12 225 213 91 94.8 12
"""
# Sum of every property over the elements that have it.
CHECKSUM = [
    6328,
    5356,
    15535.62008,
    130943.62,
    886,
    578,
    14591,
    168.08,
    204,
    106,
    422,
    564,
    1296,
    18,
    80,
    238,
    150,
    486,
    2834.372702,
    87.975,
    10.29918392,
    17339,
]
# Sum of -mean / std over the features of the scaler.
SCALED_SUM = -242.0179729238596


def value(formula, label):
    return magpie.composition_fingerprint(Composition(formula))[magpie.feature_labels().index(f"MagpieData {label}")]


def test_features_are_those_of_matminer():
    wanted = np.array(STRONTIUM_TITANATE.split(), float)
    fingerprint = magpie.composition_fingerprint(Composition("SrTiO3"))
    assert fingerprint.shape == (132,)
    np.testing.assert_allclose(fingerprint, wanted, rtol=1e-9, atol=1e-12)


def test_labels_are_those_of_matminer():
    labels = magpie.feature_labels()
    assert len(labels) == len(set(labels)) == 132
    assert labels[:3] == ["MagpieData minimum Number", "MagpieData maximum Number", "MagpieData range Number"]
    assert labels[4] == "MagpieData avg_dev Number" and labels[-1] == "MagpieData mode SpaceGroupNumber"


def test_the_least_value_is_the_mode_of_equal_amounts():
    # Na: group 1, Mendeleev number 2. Cl: group 17, Mendeleev number 94.
    assert value("NaCl", "mode Column") == 1 and value("NaCl", "mode MendeleevNumber") == 2
    assert value("NaCl2", "mode Column") == 17 and value("NaCl1.000001", "mode Column") == 1
    assert value("NaCl1.0001", "mode Column") == 17


def test_only_ratios_of_elements_count():
    wanted = magpie.composition_fingerprint(Composition("Fe2O3"))
    for same in (Composition("Fe8O12"), Composition("O3Fe2"), Composition({"Fe2+": 1, "Fe3+": 1, "O2-": 3})):
        np.testing.assert_allclose(magpie.composition_fingerprint(same), wanted, rtol=1e-12, atol=1e-12)


def test_what_is_not_known_is_nan():
    # Helium has neither a melting temperature nor an electronegativity; the mode is that of plutonium.
    for statistic in ("minimum", "maximum", "range", "mean", "avg_dev"):
        assert np.isnan(value("HePu2", f"{statistic} MeltingT")) and np.isnan(
            value("HePu2", f"{statistic} Electronegativity")
        )
    assert value("HePu2", "mode MeltingT") == 913 and value("HePu2", "mode Electronegativity") == 1.28
    assert np.isnan(value("He2Pu", "mode MeltingT"))
    assert value("HePu2", "mean Number") == pytest.approx(190 / 3)


@pytest.mark.parametrize("composition", [{"Og": 1}, {"X": 1}, {}])
def test_unknown_elements_have_no_features(composition):
    assert np.isnan(magpie.composition_fingerprint(Composition(composition))).all()


def test_unknown_elements_beside_known_ones():
    assert np.isnan(value({"X": 1, "Na": 2}, "mean Number")) and value({"X": 1, "Na": 2}, "mode Number") == 11


def test_every_element_of_the_table():
    pure = magpie.composition_fingerprints([Composition({Element.from_Z(z): 1}) for z in range(1, 119)])
    table = pure.reshape(118, 22, 6)
    np.testing.assert_array_equal(table[:112, 0, 0], np.arange(1, 113))
    assert np.isnan(table[112:]).all()
    known = table[~np.isnan(table).any(axis=2)]
    assert not known[:, [2, 4]].any()
    np.testing.assert_array_equal(known[:, [0, 1, 3]], known[:, [5, 5, 5]])
    # Sums over elements of the columns, nan left out, as a checksum of the table.
    np.testing.assert_allclose(np.nansum(table[:, :, 0], axis=0), CHECKSUM, rtol=1e-9)


def test_many_at_once_give_what_one_at_a_time_gives():
    compositions = [Composition(f) for f in ("Fe", "LiFePO4", "NaCl", "HePu2", "K2CaMgSiAl2O9H", {})]
    together = magpie.composition_fingerprints(compositions)
    alone = [magpie.composition_fingerprint(composition) for composition in compositions]
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)
    assert magpie.composition_fingerprints([]).shape == (0, 132)


def test_standardise_uses_the_fixed_scaler():
    x = np.zeros((2, 132))
    x[1] = np.nan
    scaled = magpie.standardise(x)
    # Mean and standard deviation of the first feature: 21.194441759304013 and 16.35781741152948.
    assert scaled[0, 0] == pytest.approx(-21.194441759304013 / 16.35781741152948, rel=1e-12)
    assert not scaled[1].any()
    np.testing.assert_allclose(magpie.standardise(x[0]), scaled[0])
    np.testing.assert_allclose(scaled[0].sum(), SCALED_SUM, rtol=1e-12)
    assert np.isnan(x[1]).all()
