import pytest
import torch
from torch.testing import assert_close

from graphgan.latents import Latents
from graphgan.networks import Generator, LatentCritic, Noise, attention


@pytest.mark.parametrize("kind", [LatentCritic, Generator])
def test_a_packed_batch_gives_the_numbers_of_a_padded_one(kind, monkeypatch):
    """Values, gradients and the gradient of the gradient, with a third of the batch atoms; float64."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        network, counts = kind(4, hidden=8, layers=2, heads=2), torch.tensor([1, 9, 2, 1, 3])
        noise = network.noise(5, 9, torch.Generator().manual_seed(0)) if kind is Generator else None
        leaf = (torch.randn(5, 9, 4) if noise is None else noise.atoms).requires_grad_()
        found = []
        for most in (0.85, 0.0):
            monkeypatch.setattr(attention, "MOST_ATOMS", most)
            assert (attention.Packing.of(torch.arange(9) < counts[:, None]) is None) == (most == 0.0)
            if noise is None:
                values = network(Latents(values=leaf, num_atoms=counts))
            else:
                values = network(Noise(noise.crystal, leaf, noise.slots), counts).values
            (slope,) = torch.autograd.grad(values.square().sum(), leaf, create_graph=True)
            network.zero_grad()
            slope.square().sum().backward()
            found.append([values, slope, *(p.grad for p in network.parameters() if p.grad is not None)])
        assert len(found[0]) > 10
        for packed, padded in zip(*found, strict=True):
            assert_close(packed, padded, rtol=1e-10, atol=1e-12)
    finally:
        torch.set_default_dtype(torch.float32)
