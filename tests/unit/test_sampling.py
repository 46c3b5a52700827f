"""A seed's crystals: the same in any slice, any number and any order of computing; and files of models."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from graphgan.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from graphgan.data.crystals import Crystal
from graphgan.encodings import GraphEncoding
from graphgan.encodings.arrays import to_crystals, to_structures
from graphgan.models import find_model, list_models
from graphgan.networks import Decoder, Generator
from graphgan.reconstruction import consistency
from graphgan.sampling import BLOCK, Model, SamplingError, load_model, shard_rows
from graphgan.sampling.graphs import CHUNK

SIZES = [0, 1, 2, 0, 3, 2]


def toy(condition_dim=0, sizes=SIZES, **decoding):
    """A model of random weights that makes 1 to 5 atoms of three elements, never 3."""
    torch.manual_seed(0)
    arguments = {
        "generator": {"hidden": 16, "layers": 1, "num_slots": 5, "condition_dim": condition_dim},
        "decoder": {"num_species": 3, "hidden": 16, "layers": 1, "condition_dim": condition_dim} | decoding,
    }
    generator, decoder = Generator(**arguments["generator"]), Decoder(**arguments["decoder"])
    decoder.log_metric_mean[:3] = 1.0
    encoding = GraphEncoding(max_atoms=5, elements=["O", "Ti", "Ba"], atom_counts=sizes)
    return Model(
        name="toy",
        encoding=encoding,
        generator=generator.eval(),
        decoder=decoder.eval(),
        config={"seed": 0},
        step=7,
        arguments=arguments,
    )


def crystals_of(model, n, **options):
    return list(itertools.chain.from_iterable(model.stream(n, **options)))


def assert_same(found, expected, tolerance=1e-5):
    """The same crystals in the same order, within float32."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.numbers.tolist() == b.numbers.tolist()
            apart = a.frac_coords - b.frac_coords
            np.testing.assert_allclose(apart, np.rint(apart), atol=tolerance)
            np.testing.assert_allclose(a.lattice, b.lattice, rtol=tolerance, atol=tolerance)


# -- random numbers ----------------------------------------------------------------------------------------------------


def test_what_a_seed_means_is_known():
    """Philox with the key (seed, block): these numbers are part of every seed's meaning."""
    counts, noise = toy()._draw(range(66), 1)
    assert counts[:8].tolist() == [2, 5, 2, 1, 5, 1, 4, 2]
    np.testing.assert_allclose(noise.crystal[0, :3], [-1.7128462, -2.7373424, -0.4418052], rtol=1e-6)
    np.testing.assert_allclose(noise.atoms[65, 4, :3], [1.9117644, 1.3147092, 1.5030738], rtol=1e-6)
    assert noise.slots[3].tolist() == [0, 1, 2, 3, 4]


def test_any_slice_is_drawn_without_what_comes_before_it():
    model = toy()
    counts, noise = model._draw(range(5 * BLOCK), 3)
    for rows in (range(1), range(63, 65), range(70, 260), range(128, 192)):
        some, part = model._draw(rows, 3)
        assert torch.equal(some, counts[rows.start : rows.stop])
        assert torch.equal(part.crystal, noise.crystal[rows.start : rows.stop])
        assert torch.equal(part.atoms, noise.atoms[rows.start : rows.stop])


def test_no_two_blocks_and_no_two_seeds_share_numbers():
    """torch's CPU generator takes 32 bits of a seed: 0 and 2**32 would be one."""
    model = toy()
    seeds = (0, 1, 2**32, 2**63 - 1)
    first = torch.cat([model._draw(range(8 * BLOCK), seed)[1].crystal[:, 0] for seed in seeds])
    assert len(first.unique()) > 0.999 * len(first)
    assert abs(float(first.mean())) < 0.1 and abs(float(first.std()) - 1) < 0.05


def test_atom_counts_have_the_training_frequencies():
    counts = torch.bincount(toy()._draw(range(20000), 0)[0], minlength=6)
    np.testing.assert_allclose(counts / 20000, np.array(SIZES) / 8, atol=0.02)
    assert counts[0] == counts[3] == 0


# -- slices ------------------------------------------------------------------------------------------------------------


def test_shards_are_contiguous_and_differ_by_at_most_one():
    assert [shard_rows(10, (i, 4)) for i in (1, 2, 3, 4)] == [range(2), range(2, 5), range(5, 7), range(7, 10)]
    for n, k in ((1, 1), (7, 7), (1000, 3), (12345, 64)):
        rows = [shard_rows(n, (i, k)) for i in range(1, k + 1)]
        assert list(itertools.chain.from_iterable(rows)) == list(range(n))
        assert {len(r) for r in rows} <= {n // k, n // k + 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": (0, 4)}, "shard is 0/4"),
        ({"shard": (5, 4)}, "shard is 5/4"),
        ({"shard": (1, 0)}, "shard is 1/0"),
        ({"shard": (1, 9)}, "shard 1/9 of 8 crystals is empty"),
        ({"seed": -1}, "seed is -1"),
        ({"num_atoms": 6}, "num_atoms is 6, this model makes 1 to 5"),
        ({"condition": torch.zeros(8, 1)}, "this model was trained without one"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line_at_once(options, message):
    with pytest.raises(SamplingError, match=message):
        toy().stream(8, **options)
    with pytest.raises(ValueError, match="cannot sample 0 crystals"):
        toy().sample(0)


def test_more_crystals_than_there_are_numbers_for_are_one_line():
    assert next(toy().stream(2**63 - 1)) and len(shard_rows(2**63 - 1, (2**62, 2**62))) == 2
    for n in (2**63, 10**22, 10**5000):
        with pytest.raises(SamplingError, match=r"^cannot sample 2\*\*63 crystals or more$"):
            shard_rows(n, (1, 1))


@pytest.mark.parametrize("options", [{"seed": 1.9}, {"num_atoms": 2.5}, {"shard": (1.0, 2)}, {"n": 8.5}])
def test_what_is_no_integer_is_not_rounded(options):
    with pytest.raises(TypeError, match="float"):
        toy().stream(**{"n": 8} | options)


def test_any_integer_is_a_seed():
    same = crystals_of(toy(), 5, seed=3)
    for seed in (np.int64(3), np.uint8(3), torch.tensor(3)):
        assert_same(crystals_of(toy(), np.int32(5), seed=seed), same, tolerance=0)


def test_shards_and_prefixes_are_the_same_crystals(monkeypatch):
    monkeypatch.setattr("graphgan.sampling.graphs.CHUNK", 128)
    model = toy()
    whole = crystals_of(model, 300, seed=5)
    assert sum(crystal is not None for crystal in whole) > 290
    assert len({crystal.lattice.tobytes() for crystal in whole if crystal is not None}) > 290
    assert_same([c for i in (1, 2, 3) for c in crystals_of(model, 300, seed=5, shard=(i, 3))], whole)
    assert_same(crystals_of(model, 10, seed=5), whole[:10])
    other = crystals_of(model, 10, seed=6)
    assert not any(np.array_equal(a.lattice, b.lattice) for a, b in zip(other, whole, strict=False))


def test_a_stream_makes_only_what_is_taken():
    chunk = next(toy().stream(10**12))
    assert len(chunk) == CHUNK


def test_conditions_go_with_their_crystals():
    model = toy(condition_dim=2)
    condition = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    whole = crystals_of(model, 100, condition=condition)
    assert_same([c for i in (1, 2) for c in crystals_of(model, 100, condition=condition, shard=(i, 2))], whole)
    graphs, _ = model.sample_graphs(100, condition=condition)
    assert torch.equal(graphs.condition, condition)
    apart = crystals_of(model, 100, condition=condition + 1)
    assert not any(np.allclose(a.lattice, b.lattice, atol=1e-4) for a, b in zip(whole, apart, strict=True) if a and b)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, r"this model was trained with a condition: give one, of shape \(8, 2\)"),
        (torch.zeros(8, 3), r"condition has shape \(8, 3\), expected \(8, 2\)"),
        (torch.zeros(3, 2), r"condition has shape \(3, 2\), expected \(8, 2\)"),
        (torch.zeros(8), r"condition has shape \(8,\), expected \(8, 2\)"),
        ([[1.0, 2.0], [3.0]], r"condition is no table of numbers, expected shape \(8, 2\)"),
        (np.array([["a", "b"]] * 8), "condition is no table of numbers"),
    ],
)
def test_a_condition_of_another_shape_is_one_line_at_once(condition, message):
    model = toy(condition_dim=2)
    for method in (model.sample, model.stream, model.sample_graphs):
        with pytest.raises(SamplingError, match=f"^{message}"):
            method(8, condition=condition)


def test_a_condition_may_be_of_any_real_numbers():
    model = toy(condition_dim=2)
    assert model.condition_dim == 2 and toy().condition_dim == 0
    condition = torch.arange(12).reshape(6, 2)
    expected = crystals_of(model, 6, condition=condition.float())
    for same in (condition.double(), condition, condition.numpy() / 1.0, condition.tolist()):
        assert_same(crystals_of(model, 6, condition=same), expected, tolerance=0)
        assert model.sample_graphs(6, condition=same)[0].condition.dtype == torch.float32


# -- fast paths and slow ones ------------------------------------------------------------------------------------------


def test_passes_by_size_give_what_one_padded_pass_gives():
    model = toy()
    counts, noise = model._draw(range(200), 0)
    latents = model.generator(noise, counts)
    proposal = model.decoder.propose(latents)
    slow = model.decoder.average(proposal, latents)
    graphs, residual = model.sample_graphs(200, seed=0)
    assert torch.equal(graphs.num_atoms, counts)
    torch.testing.assert_close(graphs.species, slow.species, atol=1e-5, rtol=0)
    torch.testing.assert_close(graphs.lattice, slow.lattice, atol=1e-5, rtol=1e-5)
    turned = torch.exp(2j * torch.pi * graphs.directions) - torch.exp(2j * torch.pi * slow.directions)
    assert turned.abs().max() < 1e-3  # averaging magnifies last bits where an atom's proposals nearly cancel
    torch.testing.assert_close(
        residual, consistency(proposal.directions, latents.mask, model.decoder.rounds), atol=1e-5, rtol=0
    )


def test_the_stream_the_structures_and_the_graphs_are_the_same_crystals():
    model = toy()
    arrays, structures = crystals_of(model, 60), model.sample(60)
    decoded = model.encoding.decode(model.sample_graphs(60)[0])
    for crystal, structure, other in zip(arrays, structures, decoded, strict=True):
        assert (crystal is None) == (structure is None) == (other is None)
        if crystal is None:
            continue
        assert crystal.frac_coords[0].tolist() == [0, 0, 0]
        assert [site.specie.Z for site in structure] == crystal.numbers.tolist()
        np.testing.assert_array_equal(structure.frac_coords, crystal.frac_coords)
        np.testing.assert_array_equal(structure.lattice.matrix, crystal.lattice)
        assert structure.species == other.species
        apart = other.frac_coords - other.frac_coords[0] - crystal.frac_coords
        np.testing.assert_allclose(apart, np.rint(apart), atol=1e-5)


def test_a_fixed_number_of_atoms():
    assert {len(c.numbers) for c in crystals_of(toy(), 50, num_atoms=3) if c} == {3}


def slow_decode(elements, kinds, frac_coords, lattice, num_atoms):
    """One crystal after the other, by pymatgen's own constructors."""
    made = []
    for kind, x, cell, n in zip(kinds, frac_coords.astype(float), lattice.astype(float), num_atoms, strict=True):
        finite = np.isfinite(cell).all() and np.isfinite(x[:n]).all()
        if n < 1 or not finite or abs(np.linalg.det(cell)) < 0.1:
            made.append(None)
        else:
            made.append(Structure(Lattice(cell), [elements[k] for k in kind[:n]], x[:n] % 1.0))
    return made


def test_decoding_all_at_once_is_decoding_one_by_one():
    rng = np.random.default_rng(0)
    lattice = (3 * np.eye(3) + rng.normal(size=(40, 3, 3))).astype(np.float32)
    x = rng.normal(size=(40, 5, 3)).astype(np.float32)
    num_atoms = rng.integers(0, 6, 40)
    num_atoms[:6] = 3
    lattice[0, 1, 1], lattice[1], lattice[2, 0, 0] = np.nan, 0.4 * np.eye(3), np.inf
    x[3, 2, 0], x[4, 3, 0] = np.nan, np.nan  # an atom, padding
    arrays = (["O", "Ti", "Ba"], rng.integers(0, 3, (40, 5)), x, lattice, num_atoms)
    slow, fast = slow_decode(*arrays), to_structures(to_crystals(*arrays))
    assert [s is None for s in fast] == [s is None for s in slow]
    assert [s is None for s in fast[:6]] == [True, True, True, True, False, False]
    assert all(a == b and a.as_dict() == b.as_dict() for a, b in zip(fast, slow, strict=True) if a is not None)
    assert to_structures([None]) == [None] and to_structures([]) == []


def test_bf16_is_close():
    model = toy()
    exact = crystals_of(model, 60)
    model.precision = "bf16"
    rough = crystals_of(model, 60)
    lattices = [(a.lattice, b.lattice) for a, b in zip(exact, rough, strict=True) if a and b]
    largest = max(np.abs(a - b).max() / np.abs(a).max() for a, b in lattices)
    assert 1e-6 < largest < 0.03


def test_compiled_equals_eager():
    """With the backend that only traces: inductor takes a minute and is judged in docs/sampling.md."""
    model = toy(sizes=[0, 0, 0, 0, 1, 0])
    exact = crystals_of(model, 40)
    model.compile("eager")
    assert_same(crystals_of(model, 40), exact)
    assert model._compiled is not None


def test_compiled_models_agree_on_formulas_too():
    model = toy(sizes=[0, 0, 0, 0, 1, 0], agreement=4.0, max_atoms=5)
    free = crystals_of(model, 40)
    model.decoder.agreement.learn(torch.tensor([[0, 0, 1, 1, 0], [0, 1, 1, 1, 0]] * 20), torch.full((40,), 4))
    exact = crystals_of(model, 40)
    assert any(a.numbers.tolist() != b.numbers.tolist() for a, b in zip(free, exact, strict=True))
    model.compile("eager")
    assert_same(crystals_of(model, 40), exact)


def test_compiled_models_keep_atoms_apart_too_and_residuals_are_of_what_atoms_said():
    model = toy(sizes=[0, 0, 0, 0, 1, 0], separations=0.1)
    free, residuals = model.sample_graphs(40, seed=0)
    model.decoder.separations.shortest.fill_(1.2)
    apart, again = model.sample_graphs(40, seed=0)
    assert (apart.directions - free.directions).abs().max() > 0.05
    assert torch.equal(residuals, again)
    exact = crystals_of(model, 40)
    model.compile("eager")
    assert_same(crystals_of(model, 40), exact)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_saved_model_has_what_sampling_needs_and_no_more(tmp_path):
    model = toy()
    model.save(tmp_path / "small.pt")
    content = load_checkpoint(tmp_path / "small.pt")
    keys = {"format", "name", "encoding", "config", "arguments", "weights", "stage", "trainer"}
    assert set(content) == keys and set(content["weights"]) == set(content["arguments"]) == {"generator", "decoder"}
    for network in content["weights"].values():
        assert {(w.ndim > 1, w.dtype) for w in network.values()} == {(True, torch.float16), (False, torch.float32)}
    again = load_model(tmp_path / "small.pt")
    assert (again.name, again.step, again.config, again.encoding) == ("small", 7, {"seed": 0}, model.encoding)
    weights = again.generator.state_dict()
    for name, exact in model.generator.state_dict().items():
        assert weights[name].dtype == torch.float32
        torch.testing.assert_close(weights[name], exact.half().float() if exact.ndim > 1 else exact, atol=0, rtol=0)
    again.save(tmp_path / "small2.pt")
    assert_same(crystals_of(load_model(tmp_path / "small2.pt"), 20), crystals_of(again, 20))
    model.arguments = None
    with pytest.raises(ValueError, match="are not known"):
        model.save(tmp_path / "x.pt")


def test_half_precision_hardly_moves_a_crystal(tmp_path):
    model = toy()
    model.save(tmp_path / "m.pt")
    for a, b in zip(crystals_of(model, 100), crystals_of(load_model(tmp_path / "m.pt"), 100), strict=True):
        if a is not None and b is not None:
            np.testing.assert_allclose(a.lattice, b.lattice, rtol=5e-3, atol=5e-3)


def other_decoder(**arguments):
    """Puts a decoder, sound by itself, into a checkpoint."""

    def change(content):
        content["arguments"]["decoder"].update(arguments)
        content["weights"]["decoder"] = Decoder(**content["arguments"]["decoder"]).state_dict()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("encoding"), "not a model of this version"),
        (lambda c: c["arguments"]["generator"].update(hidden=32), "not a model of this version"),
        (lambda c: c["arguments"]["decoder"].update(colour=1), "not a model of this version"),
        (lambda c: c["weights"]["decoder"].popitem(), "not a model of this version"),
        (lambda c: c["arguments"]["generator"].update(heads=3), "not a model of this version"),
        (lambda c: c["arguments"]["generator"].update(heads=0), "not a model of this version"),
        (lambda c: c["arguments"].update(generator=[1]), "not a model of this version"),
        (lambda c: c.update(weights=[1, 2]), "weights is no table"),
        (lambda c: c["weights"].update(generator=[1, 2]), "not a model of this version"),
        (lambda c: c["encoding"].update(elements=["H"]), "1 elements, weights for 3"),
        (lambda c: c["encoding"].update(elements=["O", "Ti", "Qq"]), "unknown species 'Qq'"),
        (lambda c: c["encoding"].update(atom_counts=[0] * 6), "atom_counts are not"),
        (lambda c: c["encoding"].update(atom_counts=[0, 1]), "atom_counts are not"),
        (lambda c: c["encoding"].update(atom_counts=[0, 1, float("nan"), 1, 1, 1]), "atom_counts are not"),
        (lambda c: c["encoding"].update(max_atoms=6, atom_counts=[1] * 7), "max_atoms is 6, weights for 5"),
        (other_decoder(condition_dim=1), "conditions of different width"),
        (other_decoder(latent_dim=4), "latents of 8 numbers, a decoder of 4"),
        (lambda c: c["weights"].pop("generator"), "still in its latent stage, there is no generator"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(change, message, tmp_path):
    toy().save(tmp_path / "m.pt")
    content = load_checkpoint(tmp_path / "m.pt")
    change(content)
    save_checkpoint(tmp_path / "m.pt", content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(tmp_path / "m.pt")
    assert "\n" not in str(caught.value) and str(caught.value).count(str(tmp_path / "m.pt")) == 1


def test_a_path_wins_over_a_name_and_an_unknown_name_lists_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_model("Perov_5").step == 824
    with pytest.raises(CheckpointError, match=r"perov-6: neither .* nor a shipped model \(mp-20, perov-5"):
        load_model("perov-6")
    (tmp_path / "perov-5" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="neither a checkpoint nor a run folder"):
        load_model("perov-5")
    toy().save(tmp_path / "perov-5" / "checkpoints" / "best.pt")
    assert load_model("perov-5").step == 7


def test_shipped_models_are_what_their_cards_say():
    for card in list_models():
        assert find_model(card.name.upper().replace("-", "_")) is card
        assert card.file.stat().st_size < 5e6
        assert hashlib.sha256(card.file.read_bytes()).hexdigest() == card.sha256
        model = load_model(card.name)
        assert model.name == card.name
        made = crystals_of(model, 64)
        assert sum(crystal is not None for crystal in made) >= 62
    assert find_model("nothing") is None


def test_the_shipped_perovskites_are_perovskites():
    made = crystals_of(load_model("perov-5"), 100)
    assert all(isinstance(crystal, Crystal) and len(crystal.numbers) == 5 for crystal in made)
    volumes = [abs(np.linalg.det(crystal.lattice)) for crystal in made]
    assert np.quantile(volumes, 0.05) > 30 and np.quantile(volumes, 0.95) < 150
    assert len({tuple(sorted(crystal.numbers.tolist())) for crystal in made}) > 80
