import dataclasses
import json
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from graphgan.data.crystals import Crystal
from graphgan.encodings import EncodingError, Xtal2pngEncoding, image_encoding
from graphgan.encodings.distances import mended
from graphgan.encodings.xtal2png import RANGES, RangeWarning
from graphgan.image_tensor import ImageTensor
from graphgan.metrics import redundancy

GOLDEN = Path(__file__).parent / "xtal2png_golden"
CRYSTALS = runpy.run_path(str(GOLDEN / "crystals.py"))["CRYSTALS"]
STRUCTURES = {name: Structure(*crystal) for name, crystal in CRYSTALS.items()}
INSIDE = [name for name in STRUCTURES if name != "outside"]
# Wider than the published ones, for the crystal that leaves them.
WIDE = {"a": [1, 20], "b": [1, 20], "c": [1, 50], "distance": [0, 30]}
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.47, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
)


def pixels(name):
    image = np.asarray(Image.open(GOLDEN / f"{name}.png"))
    return image.reshape(1, *image.shape[:2], -1)


def encoded(name, **options):
    encoding = Xtal2pngEncoding(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)
        return encoding, encoding.encode([STRUCTURES[name]], workers=1)


def noised(images, sigma, seed=0, where=None):
    noise = torch.randn(images.values.shape, generator=torch.Generator().manual_seed(seed)) * sigma
    if where is not None:
        mask = torch.zeros(noise.shape, dtype=torch.bool)
        mask[:, :, 12:, where] = mask[:, :, where, 12:] = True
        noise = noise * mask
    return ImageTensor((images.values + noise).clamp(0, 1))


def off(structure, crystal):
    """Root mean square distance in Å of the sites of a crystal from those of a structure, but for a common shift."""
    moved = structure.frac_coords - crystal.frac_coords
    moved -= np.round(moved)
    return np.sqrt((((moved - moved.mean(0)) @ structure.lattice.matrix) ** 2).sum(1).mean())


# -- the published image ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURES)
def test_bytes_are_those_of_the_package(name):
    encoding, images = encoded(name)
    assert encoding.to_pixels(images).tobytes() == pixels(name).tobytes()


def test_three_channels_are_those_of_the_package():
    encoding, images = encoded("triclinic", num_channels=3)
    assert images.values.shape == (1, 3, 64, 64)
    assert encoding.to_pixels(images).tobytes() == pixels("triclinic-rgb").tobytes()
    (again,), (grey,) = encoding.decode(images), Xtal2pngEncoding().decode(encoded("triclinic")[1])
    assert again == grey


@pytest.mark.parametrize("name", json.loads((GOLDEN / "decoded.json").read_text()))
def test_decodes_as_the_package_does(name):
    expected = json.loads((GOLDEN / "decoded.json").read_text())[name]
    encoding = Xtal2pngEncoding()
    (crystal,) = encoding.to_crystals(encoding.of_pixels(pixels(name)))
    np.testing.assert_allclose(crystal.lattice, expected["lattice"], atol=1e-8)
    assert crystal.numbers.tolist() == expected["numbers"]
    np.testing.assert_allclose(crystal.frac_coords, np.array(expected["frac_coords"]) % 1.0, atol=1e-8)


def test_layout():
    crystal = Crystal(np.diag([4.0, 5.0, 6.0]), np.array([[0.0, 0.1, 0.2], [0.9, 0.6, 0.2]]), np.array([8, 26]))
    (array,) = Xtal2pngEncoding(max_sites=3, num_channels=2).draw([crystal], [25])
    assert array.shape == (15, 15, 2) and (array[..., 0] == array[..., 1]).all()
    plain = array[..., 0]
    np.testing.assert_allclose(plain[12, :12], [8, 0, 0.1, 0.2, 4, 5, 6, 90, 90, 90, 2, 25])
    np.testing.assert_allclose(plain[13, :12], [26, 0.9, 0.6, 0.2, 4, 5, 6, 90, 90, 90, 2, 25])
    np.testing.assert_array_equal(plain, plain.T)
    # x differs by 0.1 across the border of the cell, y by half of it.
    np.testing.assert_allclose(plain[12:14, 12:14], np.array([[0, 1], [1, 0]]) * np.hypot(0.4, 2.5))
    image = Xtal2pngEncoding(max_sites=3, num_channels=2).normalise(array[None])[0, ..., 0]
    assert not image[14].any() and not image[:, 14].any() and not image[:12, :12].any()


def test_distances_are_to_the_nearest_image_in_skewed_cells():
    structure = STRUCTURES["skewed"]
    encoding, images = encoded("skewed", bits=None)
    steps = np.array(np.meshgrid(*[np.arange(-4, 5)] * 3)).reshape(3, -1).T
    apart = structure.frac_coords[:, None] - structure.frac_coords
    every = np.linalg.norm((apart[:, :, None] + steps) @ structure.lattice.matrix, axis=-1)
    nearest = np.linalg.norm((apart - np.round(apart)) @ structure.lattice.matrix, axis=-1)
    found = encoding.arrays(images)[0, 12:18, 12:18, 0]
    np.testing.assert_allclose(found, every.min(-1), atol=1e-5)
    assert (nearest - found).max() > 1  # or the cell is no test


def test_right_angles_lie_between_two_levels():
    encoding, images = encoded("rocksalt")
    assert encoding.to_pixels(images)[0, 12, 7, 0] == 128
    assert encoding.decode(images)[0].lattice.alpha == pytest.approx(128 / 255 * 180)


def test_no_space_group_is_level_zero():
    encoding = Xtal2pngEncoding()
    crystal = Crystal(np.eye(3) * 5, np.zeros((1, 3)), np.array([29]))
    assert encoding.normalise(encoding.draw([crystal], [0]))[0, 12, 11, 0] == 0


# -- symmetries --------------------------------------------------------------------------------------------------------


def test_other_order_of_sites_permutes_the_image():
    _, images = encoded("skewed")
    order = [3, 0, 5, 1, 4, 2]
    structure = Structure.from_sites([STRUCTURES["skewed"][i] for i in order])
    other = Xtal2pngEncoding().encode([structure], workers=1)
    rows = [*range(12), *(12 + i for i in order), *range(18, 64)]
    assert torch.equal(other.values, images.values[:, :, rows][:, :, :, rows])


def test_translation_leaves_distances():
    encoding, images = encoded("twenty")
    structure = STRUCTURES["twenty"].copy().translate_sites(range(20), [0.3, 0.4, 0.5])
    moved = encoding.encode([structure], workers=1)
    assert torch.equal(moved.values[..., 12:, 12:], images.values[..., 12:, 12:])
    assert not torch.equal(moved.values, images.values)


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURES)
def test_without_levels_nothing_is_lost(name):
    encoding, images = encoded(name, bits=None)
    (crystal,) = encoding.to_crystals(images)
    np.testing.assert_allclose(Lattice(crystal.lattice).parameters, STRUCTURES[name].lattice.parameters, rtol=1e-6)
    np.testing.assert_allclose(crystal.frac_coords, STRUCTURES[name].frac_coords, atol=1e-6)
    assert crystal.numbers.tolist() == list(STRUCTURES[name].atomic_numbers)


@pytest.mark.parametrize("name", [name for name in INSIDE if name != "full"])
def test_eight_bits_give_the_same_crystal(name):
    encoding, images = encoded(name)
    assert StructureMatcher().fit(STRUCTURES[name], encoding.decode(images)[0])


@pytest.mark.parametrize("bits", [6, 12, 16])
def test_other_numbers_of_levels(bits):
    encoding, images = encoded("triclinic", bits=bits)
    levels = images.values.double() * (2**bits - 1)
    assert (levels - levels.round()).abs().max() < 1e-2
    (crystal,) = encoding.to_crystals(images)
    # A level is 13.3 Å over their number, and the nearest one is at most half a level off.
    assert abs(Lattice(crystal.lattice).a - 4.1) <= 13.3 / (2**bits - 1) / 2 + 1e-6


def test_one_warning_says_what_is_clipped():
    structures = [STRUCTURES["copper"], STRUCTURES["outside"], STRUCTURES["outside"]]
    encoding = Xtal2pngEncoding()
    with pytest.warns(RangeWarning, match="^2 of 3 crystals .* clipped: a, b, c, distance$") as caught:
        images = encoding.encode(structures, workers=1)
    assert [warning.filename for warning in caught if warning.category is RangeWarning] == [__file__]
    assert encoding.decode(images)[1].lattice.abc == pytest.approx((15.3, 2.0, 36.0))
    with pytest.warns(RangeWarning, match="^2 of 3 crystals .* outside"):
        floats = Xtal2pngEncoding(bits=None).encode(structures, workers=1)
    assert floats.values.max() > 1 and floats.values.min() < 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", RangeWarning)
        encoding.encode(structures[:1], workers=1)
        Xtal2pngEncoding(ranges=WIDE).encode(structures, workers=1)


def test_ranges_of_the_training_set():
    structures = list(STRUCTURES.values())
    encoding = Xtal2pngEncoding(fitted=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RangeWarning)
        images, kept = encoding.fit_encode(structures, workers=1)
    assert kept == list(range(7))
    abc = np.array([s.lattice.abc for s in structures])
    for k, name in enumerate("abc"):
        np.testing.assert_allclose(encoding.ranges[name], [abc[:, k].min(), abc[:, k].max()])
    assert encoding.ranges["atom"] == [1, 118] and encoding.ranges["space_group"] == [1, 225]
    assert encoding.ranges["distance"] == pytest.approx([0, np.hypot(np.hypot(17.2, 1.9), 41) / 2])
    for name in ("frac", "angles", "num_sites"):
        assert encoding.ranges[name] == list(RANGES[name])
    for structure, again in zip(structures, encoding.decode(images), strict=True):
        assert np.abs(np.array(structure.lattice.abc) - again.lattice.abc).max() < (41 - 2.55) / 255 / 2 + 1e-6
    tighter = Xtal2pngEncoding(fitted=True, quantile=0.5).fit(structures, workers=1)
    assert tighter.ranges["a"] == pytest.approx([abc[:, 0].min(), np.median(abc[:, 0])])
    assert Xtal2pngEncoding().fit(structures, workers=1) == Xtal2pngEncoding()


def test_ranges_of_a_set_in_which_nothing_varies():
    copper = STRUCTURES["copper"]
    encoding = Xtal2pngEncoding(fitted=True)
    images, _ = encoding.fit_encode([copper, copper], workers=1)
    assert encoding.ranges["atom"] == [29, 30] and encoding.ranges["distance"] == [0, 1]
    assert all(crystal.numbers.tolist() == [29] for crystal in encoding.to_crystals(images))
    np.testing.assert_allclose(encoding.decode(images)[0].lattice.abc, copper.lattice.abc, rtol=1e-6)


def test_state_is_plain_and_rebuilds_the_encoding():
    encoding = Xtal2pngEncoding(max_sites=60, fitted=True, bits=10, count="fitted").fit([QUARTZ], workers=1)
    state = json.loads(json.dumps(encoding.state_dict()))
    again = image_encoding(**state)
    assert again == encoding and again.encode([QUARTZ], workers=1).digest() == (
        encoding.encode([QUARTZ], workers=1).digest()
    )


def test_more_sites_stretch_their_range():
    assert Xtal2pngEncoding(max_sites=20).ranges["num_sites"] == [0, 52]
    encoding = Xtal2pngEncoding(max_sites=100)
    assert encoding.ranges["num_sites"] == [0, 100]
    cell = Structure(np.diag([8.0, 8.0, 20.0]), ["O"] * 90, np.random.default_rng(0).random((90, 3)))
    assert len(encoding.decode(encoding.encode([cell], workers=1))[0]) == 90
    with pytest.raises(EncodingError, match="90 sites, at most 52"):
        Xtal2pngEncoding().encode([cell], workers=1)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"num_channels": 0}, "num_channels is 0"),
        ({"bits": 0}, "bits is 0"),
        ({"bits": 17}, "bits is 17"),
        ({"quantile": 0.0}, "quantile is 0"),
        ({"coordinates": "mds"}, "coordinates is 'mds'"),
        ({"count": "most"}, "count is 'most'"),
        ({"ranges": {"volume": [0, 1]}}, "'volume' is no quantity"),
        ({"ranges": {"a": [5, 5]}}, "a is \\[5, 5\\], expected two numbers"),
        ({"ranges": {"a": [5]}}, "a is \\[5\\], expected two numbers"),
        ({"ranges": {"a": 5}}, "a is 5, expected two numbers"),
        ({"ranges": {"a": [0, float("nan")]}}, "expected two numbers"),
        ({"max_sites": 60, "ranges": {"num_sites": [0, 52]}}, "crystals have 1 to 60 sites"),
        ({"max_sites": 300}, "256 levels cannot count 300 sites"),
    ],
)
def test_wrong_options_are_refused(options, complaint):
    with pytest.raises(EncodingError, match=complaint):
        Xtal2pngEncoding(**options)


# -- reading what networks made ----------------------------------------------------------------------------------------


def test_what_is_no_crystal_is_none():
    encoding, images = encoded("triclinic")
    good = images.values[0]
    bad = [torch.zeros_like(good), torch.full_like(good, torch.nan), good.clone(), good.clone(), good * 1e30]
    bad[2][0, 60, 60] = torch.inf
    bad[3][0, 12:, 7:10] = bad[3][0, 7:10, 12:] = 0.9  # three angles of 162 degrees make no cell
    for options in ({}, {"bits": None}, {"count": "fitted"}, {"coordinates": "distances"}):
        encoding = Xtal2pngEncoding(**options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = encoding.decode(ImageTensor(torch.stack([*bad, good])))
            columns = encoding.redundancy(ImageTensor(torch.stack(bad[:4])))
        assert [crystal is None for crystal in read[:4]] == [True] * 4 and len(read[5]) == 4
        assert all(np.isnan(value) for value in columns.values())
    assert encoding.decode(ImageTensor(torch.zeros(0, 1, 64, 64))) == []


def test_two_copies_that_disagree_are_averaged():
    encoding, images = encoded("triclinic", bits=None)
    arrays = encoding.arrays(images)
    # Halfway between two elements it is the lighter one.
    arrays[0, 12:14, 0, 0], arrays[0, 0, 12:14, 0] = [5, 6], [6, 7]
    arrays[0, 12, 1], arrays[0, 1, 12] = 0.25, 0.75
    arrays[0, 12, 4] += 0.8  # in one of eight copies of a
    (crystal,) = encoding.read(arrays)
    assert crystal.numbers[:2].tolist() == [5, 6] and crystal.frac_coords[0, 0] == 0.5
    assert Lattice(crystal.lattice).a == pytest.approx(4.1 + 0.1, abs=1e-5)


def test_images_of_one_site():
    encoding = Xtal2pngEncoding(max_sites=1)
    assert len(encoding.decode(encoding.encode([STRUCTURES["copper"]], workers=1))[0]) == 1


def test_random_images_are_read_without_a_warning():
    images = ImageTensor(torch.rand(20, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2)
    for options in ({}, {"bits": None, "count": "fitted", "coordinates": "distances"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = Xtal2pngEncoding(**options).to_crystals(images)
        assert any(crystal is not None for crystal in read)
        assert all(np.isfinite(crystal.frac_coords).all() for crystal in read if crystal is not None)


def test_arrays_are_not_changed():
    encoding, images = encoded("triclinic", coordinates="distances")
    arrays = encoding.arrays(images)
    before = arrays.copy()
    encoding.read(arrays)
    np.testing.assert_array_equal(arrays, before)


def test_fitted_count_stands_noise_and_the_published_does_not():
    structures = [STRUCTURES[name] for name in INSIDE] * 10
    images = noised(Xtal2pngEncoding().encode(structures, workers=1), 0.05)
    sizes = np.array([len(structure) for structure in structures])
    wrong = {}
    for count in ("published", "fitted"):
        encoding = Xtal2pngEncoding(count=count)
        wrong[count] = (encoding.num_sites(encoding.arrays(images)) != sizes).mean()
    assert wrong["fitted"] == 0 and wrong["published"] > 0.3


def test_published_count_looks_at_the_first_two_sites():
    encoding, images = encoded("twenty")
    values = images.values.clone()
    values[:, :, 10, 14:] = values[:, :, 14:, 10] = 1.0
    assert encoding.num_sites(encoding.arrays(ImageTensor(values))).tolist() == [20]
    values[:, :, 10, 12:14] = values[:, :, 12:14, 10] = torch.tensor([0.0, 50 / 255])
    assert encoding.num_sites(encoding.arrays(ImageTensor(values))).tolist() == [10]


# -- coordinates from distances ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rocksalt", "skewed", "twenty", "full"])
def test_exact_distances_mend_noisy_bands(name):
    _, images = encoded(name, bits=None)
    worse = noised(images, 0.03, where=slice(1, 4))
    options = {"bits": None, "count": "fitted"}
    (plain,) = Xtal2pngEncoding(**options).to_crystals(worse)
    mender = Xtal2pngEncoding(coordinates="distances", **options)
    (crystal,) = mender.to_crystals(worse)
    assert off(STRUCTURES[name], crystal) < 0.3 * off(STRUCTURES[name], plain)
    np.testing.assert_array_equal(crystal.lattice, plain.lattice)
    np.testing.assert_array_equal(mender.to_crystals(worse)[0].frac_coords, crystal.frac_coords)


def test_distances_help_where_all_is_noisy():
    gains = []
    for seed in range(8):
        images = noised(encoded("full")[1], 0.02, seed)
        plain, crystal = (
            Xtal2pngEncoding(count="fitted", coordinates=how).to_crystals(images)[0] for how in ("bands", "distances")
        )
        gains.append(off(STRUCTURES["full"], crystal) / off(STRUCTURES["full"], plain))
    assert np.mean(gains) < 0.7


@pytest.mark.parametrize("name", INSIDE)
def test_distances_leave_what_agrees_with_them(name):
    _, images = encoded(name, bits=None)
    plain, crystal = (
        Xtal2pngEncoding(bits=None, coordinates=how).to_crystals(images)[0] for how in ("bands", "distances")
    )
    np.testing.assert_allclose(crystal.frac_coords, plain.frac_coords, atol=1e-6)


def test_nearest_images_are_those_of_pymatgen():
    rng = np.random.default_rng(0)
    for _ in range(40):
        lattice = rng.normal(size=(3, 3)) * rng.uniform(0.5, 5, (3, 1))
        crystal = Crystal(lattice, rng.random((8, 3)), np.full(8, 6))
        distances = Lattice(lattice).get_all_distances(crystal.frac_coords, crystal.frac_coords)
        # What agrees exactly is not touched, so a single wrong image would show.
        assert mended(crystal, distances, noise=(1e-3, 1e-3)) is crystal.frac_coords


def test_one_distance_is_met_half_way_when_noises_are_alike():
    crystal = Crystal(np.eye(3) * 10, np.array([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]]), np.array([6, 6]))
    # 2 Å apart across the border, said to be 2.3: either site and the distance give way by 0.1 Å.
    places = mended(crystal, np.array([[0, 2.3], [2.3, 0]]), noise=(0.01, 0.1))
    np.testing.assert_allclose(places, [[0.11, 0.5, 0.5], [0.89, 0.5, 0.5]], atol=1e-5)
    # A distance at the end of its range says only that it is no less.
    np.testing.assert_allclose(mended(crystal, np.array([[0, 2.1], [2.5, 0]]), noise=(0.01, 0.1)), places, atol=1e-5)
    same = mended(crystal, np.array([[0, 1.8], [1.8, 0]]), noise=(0.01, 0.1), longest=1.8)
    np.testing.assert_array_equal(same, crystal.frac_coords)
    near = mended(crystal, np.array([[0, 2.3], [2.3, 0]]), noise=(0.01, 0.1), longest=2.3)
    np.testing.assert_allclose(near, places, atol=1e-5)


# -- redundancy --------------------------------------------------------------------------------------------------------


def test_redundancy_of_a_clean_image_is_zero():
    encoding = Xtal2pngEncoding(num_channels=3)
    images = encoding.encode([STRUCTURES[name] for name in INSIDE], workers=1)
    assert encoding.redundancy(images) == {
        "lattice_parameter_variance": 0,
        "lattice_angle_variance": 0,
        "space_group_number_variance": 0,
        "fractional_coordinate_variance": 0,
    }


def test_redundancy_counts_two_copies():
    encoding, images = encoded("copper", bits=None)
    values = images.values.clone()
    step = {"a": 1 / 13.3, "beta": 2 / 180, "group": 3 / 229, "x": 0.4}
    values[0, 0, 12, 4] += step["a"]  # a, in one of two copies
    values[0, 0, 12, 8] += step["beta"]
    values[0, 0, 12, 11] += step["group"]
    values[0, 0, 12, 1] += step["x"]
    found = encoding.redundancy(ImageTensor(values))
    assert found == pytest.approx(
        {
            "lattice_parameter_variance": 0.25 / 3,
            "lattice_angle_variance": 1 / 3,
            "space_group_number_variance": 2.25,
            "fractional_coordinate_variance": 0.04 / 2,
        },
        rel=1e-4,
    )


def test_redundancy_is_that_of_the_metrics_in_any_portions(monkeypatch):
    encoding = Xtal2pngEncoding(count="fitted")
    images = noised(encoding.encode([STRUCTURES[name] for name in INSIDE], workers=1), 0.02)
    arrays = encoding.arrays(images)
    four = np.repeat(arrays, 4, axis=-1)
    four[:, 12:, 10], four[:, 10, 12:] = four[:, 12:, 11], four[:, 11, 12:]
    sites = encoding.num_sites(arrays).tolist()
    expected = {name: getattr(redundancy, name)(four, sites) for name in encoding.redundancy(images)}
    assert encoding.redundancy(images) == pytest.approx(expected) and min(expected.values()) > 0
    monkeypatch.setattr("graphgan.encodings.images.CHUNK", 2)
    assert encoding.redundancy(images) == pytest.approx(expected)
    # The mean of three channels is what is read, and what is judged.
    three = dataclasses.replace(encoding, num_channels=3)
    assert three.redundancy(ImageTensor(images.values.repeat(1, 3, 1, 1))) == pytest.approx(expected)
