"""A CrystalSet gives the batches that dense graph tensors gave, number for number, wherever its arrays lie."""

import hashlib

import numpy as np
import pytest
import torch

from graphgan.crystal_set import CrystalSet
from graphgan.graph_tensor import GraphTensor

N, K, SIZES = 5, 3, [1, 5, 2, 4, 3, 2, 5]


def arrays():
    rng = np.random.default_rng(0)
    atoms = np.arange(N) < np.array(SIZES)[:, None]
    return {
        "species": (rng.integers(0, K, (len(SIZES), N)) * atoms).astype(np.uint8),
        "frac_coords": rng.random((len(SIZES), N, 3)) * atoms[:, :, None],
        "lattice": rng.normal(0, 3, (len(SIZES), 3, 3)).astype(np.float32),
        "num_atoms": np.array(SIZES),
    }


def crystal_set(condition=True):
    tensors = {name: torch.from_numpy(array) for name, array in arrays().items()}
    given = torch.arange(2.0 * len(SIZES)).view(-1, 2) if condition else None
    return CrystalSet(**tensors, num_species=K, condition=given)


def dense():
    """The whole set as training held it before: one-hot species, directions of float64 positions, float32."""
    own = {name: torch.from_numpy(array) for name, array in arrays().items()}
    atoms = torch.arange(N) < own["num_atoms"][:, None]
    species = torch.nn.functional.one_hot(own["species"].long(), K).double() * atoms[..., None]
    condition = torch.arange(2.0 * len(SIZES)).view(-1, 2)
    return GraphTensor.from_positions(
        species, own["frac_coords"], own["lattice"].double(), own["num_atoms"], condition
    ).to(dtype=torch.float32)


def same(one, other):
    fields = ("species", "directions", "lattice", "num_atoms", "condition")
    return all(torch.equal(getattr(one, f), getattr(other, f)) for f in fields)


INDICES = [torch.tensor([3, 0, 0, 5]), [2, 2, 5], slice(1, 4), slice(None), torch.tensor([0]), torch.tensor([-1, 1])]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_a_batch_is_what_dense_tensors_gave(index):
    batch = crystal_set()[index]
    assert same(batch, dense()[index].trim())
    assert batch.species.dtype == batch.directions.dtype == torch.float32


def test_the_whole_is_what_dense_tensors_were():
    assert same(crystal_set().graph_tensor(), dense())
    assert len(crystal_set()) == 7 and crystal_set().max_atoms == N


def test_a_mask_chooses_and_a_number_is_refused():
    mask = torch.tensor(SIZES) == 2
    assert crystal_set()[mask].num_atoms.tolist() == [2, 2]
    with pytest.raises(TypeError, match="gives a batch"):
        crystal_set()[0]


def test_slices_are_those_of_a_list():
    for index in (slice(None, None, -1), slice(5, 1, -2), slice(-2, None), slice(4, 2), slice(1, None, 3)):
        assert crystal_set()[index].num_atoms.tolist() == SIZES[index]
        assert crystal_set().subset(index).num_atoms.tolist() == SIZES[index]


def test_subsets_share_the_large_arrays_and_nest():
    whole = crystal_set()
    part = whole.subset([6, 4, 2, 0]).subset(torch.tensor([1, 2]))
    assert part.species.data_ptr() == whole.species.data_ptr()
    assert part.num_atoms.tolist() == [3, 2] and part.sizes.tolist() == [3, 2]
    assert same(part[:], dense()[[4, 2]].trim())
    assert same(part.graph_tensor(), dense()[[4, 2]])
    assert part.to("cpu") is part


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gets_the_rows_of_the_subset_alone_and_gives_the_same_batches():
    part = crystal_set().subset([6, 4, 2])
    there = part.to("cuda")
    assert there.rows is None and there.species.shape == (3, N) and there.sizes.device.type == "cpu"
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = there[torch.tensor([1, 2])]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert batch.species.is_cuda and same(batch.to("cpu"), part[[1, 2]])
    assert there.digest() == part.digest() and there.to("cuda") is there


def test_the_digest_is_that_of_checkpoints_of_before():
    expected = hashlib.sha256()
    for tensor in (dense().species.argmax(-1), dense().directions, dense().lattice):
        expected.update(tensor.numpy().tobytes())
    assert crystal_set().digest() == expected.hexdigest()


def test_the_digest_looks_at_numbers_not_at_where_they_are(tmp_path, recwarn, monkeypatch):
    mapped = {}
    for name, array in arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = torch.from_numpy(np.load(tmp_path / f"{name}.npy", mmap_mode="c"))
    lying = CrystalSet(**mapped, num_species=K)
    assert lying.digest() == crystal_set().digest()
    monkeypatch.setattr("graphgan.crystal_set._CHUNK", 2)
    assert lying.digest() == crystal_set().digest()
    shuffled = crystal_set().subset([1, 0, *range(2, 7)])
    assert shuffled.digest() != crystal_set().digest() == shuffled.subset([1, 0, *range(2, 7)]).digest()
    assert torch.equal(lying[[2, 3]].directions, dense()[[2, 3]].trim().directions)
    assert not recwarn.list


def test_a_set_of_graph_tensors_gives_them_back():
    again = CrystalSet.of(dense()).graph_tensor()
    assert torch.equal(again.species, dense().species) and torch.equal(again.lattice, dense().lattice)
    apart = again.directions - dense().directions
    assert (apart - apart.round()).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "shape"), [("frac_coords", (7, 4, 3)), ("lattice", (6, 3, 3)), ("species", (6, 5)), ("condition", (7,))]
)
def test_shapes_that_disagree_are_refused(name, shape):
    with pytest.raises(ValueError, match="expected"):
        crystal_set().replace(**{name: torch.zeros(shape)})
