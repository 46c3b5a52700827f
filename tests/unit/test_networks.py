import pytest
import torch
from e3nn import o3
from torch.testing import assert_close

from graphgan.geometry import image_offsets, image_window, wrap
from graphgan.graph_tensor import GraphTensor
from graphgan.latents import Latents, Posterior
from graphgan.networks import Decoder, Encoder, Generator, GraphCritic, LatentCritic, NoiseEncoder, standardise
from graphgan.networks.equivariant import EquivariantTrunk, PeriodicEdges
from graphgan.testing import assert_atomwise, assert_invariant, assert_irreps, triclinic_crystals

F64 = torch.float64
SMALL = {"hidden": 16, "layers": 2, "channels": 4}


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(F64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def crystals():
    torch.manual_seed(0)
    return triclinic_crystals()


def random_latents(counts=(5, 3, 4), size=6, dim=8, seed=0):
    rng = torch.Generator().manual_seed(seed)
    num_atoms = torch.tensor(counts)
    mask = torch.arange(size) < num_atoms[:, None]
    values = torch.randn(len(counts), size, dim, generator=rng, dtype=F64) * mask[..., None]
    return Latents(values=values, num_atoms=num_atoms)


def permuted_latents(latents):
    order = torch.arange(latents.values.shape[1]).repeat(len(latents), 1)
    for b, n in enumerate(latents.num_atoms.tolist()):
        order[b, :n] = torch.arange(n).roll(1)
    rows = torch.arange(len(latents))[:, None]
    return latents.replace(values=latents.values[rows, order]), order


def edges_by_hand(crystals, num_radial, num_shells, cutoff=6.0):
    """The definition, over all 27 images of all pairs: degree -> [B, N, N, R, 2l+1]."""
    delta = wrap(crystals.directions.permute(0, 2, 3, 1))[..., None, :] + image_offsets()
    vectors = delta @ crystals.lattice[:, None, None]
    squared = vectors.square().sum(-1)
    centers = (torch.arange(num_radial) + 0.5) * cutoff / num_radial
    radial = torch.exp(-(((torch.sqrt(squared + 1e-4)[..., None] - centers) * num_radial / cutoff) ** 2))
    radial = radial * ((1 - squared / cutoff**2).clamp_min(0) ** 3 * image_window(delta))[..., None]
    atoms = crystals.mask[:, :, None] & crystals.mask[:, None]
    shells = radial.unflatten(-1, (num_shells, -1)).sum(-1)
    unit = vectors / torch.sqrt(squared + 1e-2)[..., None]
    edges = []
    for degree, part in enumerate((radial, shells, shells)):
        harmonics = o3.spherical_harmonics(degree, unit, normalize=False, normalization="component")
        edges.append((part.mT @ harmonics) * atoms[..., None, None])
    return edges


def test_edges_are_the_sum_over_all_images(crystals):
    found = PeriodicEdges(num_radial=6, num_shells=3)(crystals.directions, crystals.lattice, crystals.mask)
    for edge, expected in zip(found, edges_by_hand(crystals, 6, 3), strict=True):
        assert expected.abs().max() > 0.1
        assert_close(edge.permute(0, 3, 4, 1, 2), expected)


def test_edges_are_irreps(crystals):
    edges = PeriodicEdges(num_radial=4, num_shells=2)
    for degree in range(3):
        irreps = o3.Irreps([(1, (degree, (-1) ** degree))])
        assert_irreps(lambda c, d=degree: edges(c.directions, c.lattice, c.mask)[d].movedim(2, -1), irreps, crystals)


def test_edges_see_the_images_of_one_atom_alone():
    one = triclinic_crystals((1,), padding=0)
    larger = one.replace(lattice=one.lattice * 1.1)
    here, there = (PeriodicEdges()(c.directions, c.lattice, c.mask) for c in (one, larger))
    assert (here[0] - there[0]).abs().max() > 1e-3
    assert here[1].abs().max() < 1e-15  # what it sees, it sees on both sides


def test_edges_are_smooth_across_the_cells_border():
    edges = PeriodicEdges()
    lattice, mask = triclinic_crystals((1,), padding=0).lattice, torch.ones(1, 2, dtype=torch.bool)

    def seen(step):
        d = torch.zeros(1, 3, 2, 2)
        d[0, :, 0, 1] = torch.tensor([0.5 + step, 0.2, -0.3])
        return torch.cat([e.flatten() for e in edges(d - d.mT, lattice, mask)])

    assert (seen(-1e-8) - seen(1e-8)).abs().max() < 1e-6


def test_trunk_has_every_symmetry(crystals):
    assert_atomwise(EquivariantTrunk(4, **SMALL), crystals)


def test_tensors_of_the_trunk_are_irreps(crystals):
    trunk = EquivariantTrunk(4, **SMALL)
    for degree in (1, 2):
        irreps = o3.Irreps([(1, (degree, (-1) ** degree))])
        assert trunk.features(crystals)[1][degree - 1].abs().max() > 1e-3
        assert_irreps(lambda c, d=degree: trunk.features(c)[1][d - 1].movedim(1, -1), irreps, crystals)


def test_trunk_sees_geometry(crystals):
    """The invariances above are not those of a constant."""
    trunk = EquivariantTrunk(4, **SMALL)
    moved = GraphTensor.from_positions(
        crystals.species, crystals.frac_coords * 0.9, crystals.lattice, crystals.num_atoms
    )
    strained = crystals.replace(lattice=crystals.lattice * torch.tensor([1.1, 1.0, 1.0]))
    for other in (moved, strained):
        assert (trunk(other) - trunk(crystals)).abs().max() > 1e-3


def test_the_symmetry_check_can_fail(crystals):
    with pytest.raises(AssertionError, match="rotation"):
        assert_invariant(lambda c: c.lattice.flatten(1), crystals)
    with pytest.raises(AssertionError, match="periodic image"):
        assert_invariant(lambda c: c.directions.abs().sum((1, 2, 3)), crystals)
    with pytest.raises(AssertionError, match="order of atoms"):
        assert_invariant(lambda c: c.species[:, 0], crystals)
    with pytest.raises(AssertionError, match="padding"):
        assert_invariant(lambda c: c.species.mean((1, 2)), crystals)


def test_two_atoms_that_mirror_each_other_differ(crystals):
    """Diamond's two atoms see each other along opposite directions: equal latents could not be told apart again."""
    species = torch.ones(1, 2, 4) / 4
    lattice = torch.tensor([[[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]])
    positions = torch.tensor([[[0.0, 0, 0], [0.25, 0.25, 0.25]]])
    diamond = GraphTensor.from_positions(species, positions, lattice, torch.tensor([2]))
    first, second = EquivariantTrunk(4, **SMALL)(diamond)[0]
    assert (first - second).abs().max() > 1e-3


def test_encoder_and_graph_critic_have_every_symmetry(crystals):
    encoder = Encoder(4, latent_dim=5, **SMALL)
    assert_atomwise(lambda c: encoder(c).mean, crystals)
    assert_atomwise(lambda c: encoder(c).log_variance, crystals)
    assert_invariant(GraphCritic(4, **SMALL), crystals)


def test_a_batch_of_no_crystals_has_no_scores(crystals):
    assert GraphCritic(4, **SMALL)(crystals[[]]).shape == (0,)
    assert crystals[[]].trim().species.shape == (0, 0, 4)


def test_latent_critic_is_invariant_to_order_and_padding():
    critic, latents = LatentCritic(hidden=16, layers=2), random_latents()
    expected = critic(latents)
    assert_close(critic(permuted_latents(latents)[0]), expected)
    assert_close(critic(latents.trim()), expected)
    assert_close(torch.cat([critic(latents[[b]].trim()) for b in range(3)]), expected)


def test_noise_encoder_is_invariant_to_order_and_padding():
    torch.manual_seed(0)
    encoder = NoiseEncoder(8, 5, hidden=16, layers=1)
    latents = random_latents()
    found = encoder(latents)
    assert found.mean.shape == found.log_variance.shape == (3, 1, 5)
    assert found.num_atoms.tolist() == [1, 1, 1]
    for other in (encoder(permuted_latents(latents)[0]), encoder(latents.trim())):
        assert_close(other.mean, found.mean)
        assert_close(other.log_variance, found.log_variance)
    assert (encoder(random_latents(seed=1)).mean - found.mean).abs().max() > 1e-3


def test_decoder_permutes_with_its_latents():
    decoder, latents = Decoder(4, hidden=16, layers=2), random_latents()
    crystals = decoder(latents)
    permuted, order = permuted_latents(latents)
    again, expected = decoder(permuted), crystals.permute(order)
    assert_close(again.species, expected.species)
    assert_close(again.lattice, expected.lattice)
    difference = wrap(again.directions - expected.directions)
    assert_close(difference, torch.zeros_like(difference), atol=1e-8, rtol=0)


def test_decoder_gives_consistent_graph_tensors_in_one_convention():
    decoder, latents = Decoder(4, hidden=16, layers=2), random_latents()
    crystals = decoder(latents)
    assert_close(crystals.species.sum(-1), latents.mask.double())
    assert_close(crystals.lattice, crystals.lattice.mT)  # the symmetric form, right-handed
    assert (torch.linalg.det(crystals.lattice) > 0).all()
    proposal = decoder.propose(latents)
    assert_close(wrap(proposal.directions + proposal.directions.mT), torch.zeros_like(proposal.directions))
    assert not proposal.directions.diagonal(dim1=-2, dim2=-1).any()
    assert not proposal.directions[1, :, 3:].any()


def test_batch_equals_singles_through_generator_and_decoder():
    generator, decoder = Generator(hidden=16, layers=2), Decoder(4, hidden=16, layers=2)
    counts = torch.tensor([5, 3, 4])
    noise = generator.noise(3, 6, torch.Generator().manual_seed(0))
    whole = decoder(generator(noise, counts))
    for b, n in enumerate(counts.tolist()):
        single = decoder(generator(noise[b : b + 1], counts[b : b + 1]))
        assert_close(single.species[0, :n], whole.species[b, :n])
        assert_close(single.lattice[0], whole.lattice[b])


def test_generator_permutes_with_its_noise():
    generator = Generator(hidden=16, layers=2)
    noise = generator.noise(2, 5, torch.Generator().manual_seed(0))
    counts, order = torch.tensor([5, 5]), torch.tensor([4, 0, 3, 1, 2])
    moved = type(noise)(noise.crystal, noise.atoms[:, order], noise.slots[:, order])
    assert_close(generator(moved, counts).values, generator(noise, counts).values[:, order])


def test_a_shaper_is_at_first_the_identity_and_disturbs_no_other_network():
    made = []
    for shape_hidden in (0, 12):
        torch.manual_seed(0)
        generator = Generator(hidden=16, layers=1, shape_hidden=shape_hidden)
        noise = generator.noise(2, 4, torch.Generator().manual_seed(0))
        made.append((generator(noise, torch.tensor([4, 2])).values, torch.randn(3)))
    for a, b in zip(*made, strict=True):
        assert_close(a, b)
    with torch.no_grad():
        generator.shaper.layers[4].weight.normal_()
    counts = torch.tensor([4, 2])
    assert (generator(noise, counts).values - made[0][0]).abs().max() > 1e-3
    assert_close(generator.make(noise, counts).values, made[0][0])  # noise that was read is not shaped


def test_condition_reaches_every_network(crystals):
    torch.manual_seed(1)
    counts, condition = crystals.num_atoms, torch.tensor([[0.1], [0.5], [-2.0]])
    conditioned = crystals.replace(condition=condition)
    generator = Generator(hidden=16, layers=1, condition_dim=1)
    noise = generator.noise(3, 6, torch.Generator().manual_seed(0))
    latents = generator(noise, counts, condition)
    reader = NoiseEncoder(8, 32, hidden=16, layers=1, condition_dim=1)
    encoder, critic = Encoder(4, condition_dim=1, **SMALL), LatentCritic(hidden=16, layers=1, condition_dim=1)
    decoder, graph_critic = Decoder(4, hidden=16, layers=1, condition_dim=1), GraphCritic(4, condition_dim=1, **SMALL)
    networks = {
        "generator": lambda c: generator(noise, counts, c).values,
        "noise encoder": lambda c: reader(latents.replace(condition=c)).mean,
        "encoder": lambda c: encoder(conditioned.replace(condition=c)).mean,
        "decoder": lambda c: decoder(latents.replace(condition=c)).lattice,
        "critic": lambda c: critic(latents.replace(condition=c)),
        "graph critic": lambda c: graph_critic(conditioned.replace(condition=c)),
    }
    for name, network in networks.items():
        assert (network(condition) - network(condition + 1)).abs().max() > 1e-6, name


def test_standardise_changes_the_latents_and_not_the_crystals(crystals):
    encoder, decoder = Encoder(4, latent_dim=5, **SMALL), Decoder(4, latent_dim=5, hidden=16, layers=1)
    before = decoder(encoder(crystals).latents())
    for _ in range(2):  # twice is as good as once
        standardise(encoder, decoder, encoder(crystals))
    posterior = encoder(crystals)
    values = posterior.mean[crystals.mask]
    assert_close(values.mean(0), torch.zeros(5), atol=1e-9, rtol=0)
    assert_close(values.var(0, unbiased=False) + posterior.spread().square(), torch.ones(5))
    after = decoder(posterior.latents())
    assert_close(after.lattice, before.lattice)
    assert_close(after.species, before.species)


def test_a_latent_number_of_nothing_but_noise_stays_small(crystals):
    """Its means hardly differ: divided by their spread, draws would be thousands wide."""
    encoder, decoder = Encoder(4, latent_dim=5, **SMALL), Decoder(4, latent_dim=5, hidden=16, layers=1)
    with torch.no_grad():
        encoder.head.weight[0] *= 1e-6
        encoder.head.weight[5] = 0
        encoder.head.bias[5] = 0
    standardise(encoder, decoder, encoder(crystals))
    posterior = encoder(crystals)
    assert posterior.mean[..., 0].abs().max() < 1e-4
    assert_close(posterior.spread()[0].item(), 1.0)


def test_blur_adds_noise_of_the_asked_width_to_atoms_alone():
    latents = random_latents((40, 30), size=50, dim=2)
    spread = torch.tensor([0.5, 3.0])
    added = latents.blur(spread, torch.Generator().manual_seed(0)).values - latents.values
    assert (added[~latents.mask] == 0).all()
    assert_close(added[latents.mask].std(0), spread, rtol=0.2, atol=0)
    assert_close(added[latents.mask].mean(0), torch.zeros(2), rtol=0, atol=0.8)


def test_posterior_kl_is_exact():
    mean = torch.zeros(1, 2, 2)
    mean[0, 0] = torch.tensor([1.0, 2.0])
    posterior = Posterior(mean=mean, log_variance=torch.zeros(1, 2, 2), num_atoms=torch.tensor([1]))
    assert_close(posterior.kl().item(), 2.5)  # (1 + 4) / 2; padding does not count


def test_spectral_norm_bounds_every_linear_layer():
    torch.manual_seed(0)
    critic = LatentCritic(hidden=16, layers=1, spectral_norm=True)
    for _ in range(30):
        critic(random_latents())  # power iterations
    for module in critic.modules():
        if isinstance(module, torch.nn.Linear):
            assert torch.linalg.matrix_norm(module.weight, 2) < 1.05
