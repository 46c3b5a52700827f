"""Filters of sampled crystals: exact limits, the order of rules, and what is counted."""

import itertools
import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.sampling import FilterError, Filters, SamplingError, Tally, load_model


def cell(edge, *atoms):
    """A cubic cell of (symbol, fractional x) along an edge in Å."""
    return Structure(Lattice.cubic(edge), [symbol for symbol, _ in atoms], [[x, 0, 0] for _, x in atoms])


SALT = cell(10.0, ("Na", 0.0), ("Cl", 0.25))


@pytest.mark.parametrize(("limit", "kept"), [(2.4999, True), (2.5001, False)])
def test_minimum_distance_is_that_of_the_nearest_atoms(limit, kept):
    rule = f"atoms at least {limit:g} A apart"
    assert Filters(min_distance=limit).broken(SALT) == (None if kept else rule)


def test_images_of_one_atom_count():
    assert Filters(min_distance=1.6).broken(cell(1.5, ("H", 0.0))) == "atoms at least 1.6 A apart"
    assert Filters(min_distance=1.4).broken(cell(1.5, ("H", 0.0))) is None


def test_neutral_is_compositional_validity():
    assert Filters(neutral=True).broken(SALT) is None
    assert Filters(neutral=True).broken(cell(10.0, ("Na", 0.0), ("Cl", 0.25), ("Cl", 0.5))) == "charges can balance"


def test_a_residual_is_held_against_its_limit():
    filters = Filters(max_residual=0.02)
    assert filters.broken(SALT, 0.02) is None
    assert filters.broken(SALT, 0.0201) == "consistency residual at most 0.02"
    with pytest.raises(FilterError, match="fresh from a model"):
        filters.broken(SALT)


def test_the_first_rule_broken_is_named_and_failures_break_all():
    filters = Filters(max_residual=0.02, min_distance=3.0, neutral=True)
    assert len(filters.rules) == 3
    assert filters.broken(SALT, 0.5) == filters.rules[0]
    assert filters.broken(SALT, 0.0) == filters.rules[1]
    assert filters.broken(None, 0.0) == "a crystal"
    assert not Filters()
    assert Filters().broken(SALT) is None


@pytest.mark.parametrize("lattice", [np.zeros((3, 3)), np.diag([5.0, 5.0, 0.0]), np.full((3, 3), np.nan)])
def test_what_is_no_crystal_meets_no_rule(lattice):
    flat = Structure(Lattice.cubic(5), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    flat.lattice = Lattice(lattice)
    for filters in (Filters(min_distance=1), Filters(neutral=True)):
        assert filters.broken(flat) == "a crystal"
        assert filters.broken(Structure(Lattice.cubic(5), [], [])) == "a crystal"
        assert filters.broken(cell(10.0, ("Na", 0.0), ("Cl", float("nan")))) == "a crystal"


def test_neutrality_takes_the_table_asked_for():
    salt = cell(10.0, ("W", 0.0), ("Cl", 0.25))
    assert Filters(neutral=True).broken(salt) is None
    assert Filters(neutral=True, table="smact-4.0.2-icsd24").broken(salt) == "charges can balance"


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["min_distance", "max_residual"])
def test_a_limit_that_is_none_is_refused(name, limit):
    with pytest.raises(FilterError, match=f"{name} is {limit:g}, expected more than 0"):
        Filters(**{name: limit})


def test_tally():
    tally = Tally()
    assert math.isnan(tally.acceptance)
    assert [tally.add(rule) for rule in (None, "a", "b", "b")] == [True, False, False, False]
    assert (tally.drawn, tally.kept, tally.acceptance, dict(tally.left_out)) == (4, 1, 0.25, {"a": 1, "b": 2})
    assert str(tally) == "1 of 4 crystals kept (25.0 %); 2 left out: not b; 1 left out: not a"


def test_what_cannot_be_drawn_is_said_at_once():
    with pytest.raises(SamplingError):
        load_model("perov-5").drawn(0)


def test_residuals_come_with_their_crystals():
    """Number by number those of `sample_graphs`, beside the crystals of `stream`."""
    model = load_model("perov-5")
    chunks = list(model.drawn(70, seed=3))
    crystals = list(itertools.chain.from_iterable(items for items, _ in chunks))
    residuals = list(itertools.chain.from_iterable(found for _, found in chunks))
    _, expected = model.sample_graphs(70, seed=3)
    np.testing.assert_allclose(residuals, expected.numpy())
    assert len(set(residuals)) == 70
    for a, b in zip(crystals, itertools.chain.from_iterable(model.stream(70, seed=3)), strict=True):
        np.testing.assert_array_equal(a.frac_coords, b.frac_coords)
