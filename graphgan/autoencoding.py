"""What it costs to send crystals through latents, and latents through noise, and back; measures of reconstruction."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from graphgan.draws import fair
from graphgan.geometry import TAU, log_metric, wrap
from graphgan.graph_tensor import GraphTensor, cat
from graphgan.latents import Posterior
from graphgan.networks import Decoder, Generator, NoiseEncoder


@dataclasses.dataclass(frozen=True)
class ReconstructionLoss:
    """Cross-entropy of species + weighted squared errors of directions (as phases) and lattice + KL.

    |exp(2πi D) - exp(2πi D*)|² / 2 is 1 - cos 2π(D - D*) for phases of length 1. Directions are judged as the pair head
    gives them, before averaging: every atom has to learn where every other atom is.
    `kl_weight` (nats an atom) trades an easy prior for exact reconstruction.
    """

    direction_weight: float = 10.0
    lattice_weight: float = 3.0
    kl_weight: float = 1e-3

    def __call__(
        self,
        encoder: Callable[[GraphTensor], Posterior],
        decoder: Decoder,
        real: GraphTensor,
        rng: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, stats) of a batch; the latent is one draw of the posterior by `rng`."""
        posterior = encoder(real)
        latents = posterior.sample(rng)
        proposal = decoder.propose(latents)
        atoms = real.mask
        log_probability = (proposal.species_logits.log_softmax(-1) * real.species).sum(-1)
        pairs = different_pairs(real)
        num_atoms, num_pairs = fair(torch.stack([atoms.sum(), pairs.sum(dtype=torch.int64)]), rng)
        species = -(log_probability * atoms).sum() / num_atoms
        angle = TAU * real.directions
        error = (proposal.phases[..., 0] - angle.cos()).square() + (proposal.phases[..., 1] - angle.sin()).square()
        directions = 0.5 * (error * pairs).sum() / num_pairs.clamp_min(1) / 3
        target = decoder.normalise(log_metric(real.lattice), real.num_atoms)
        found = decoder.normalise(proposal.log_metric, real.num_atoms)
        lattice = (found - target).square().mean()
        kl = posterior.kl(num_atoms)
        loss = species + self.direction_weight * directions + self.lattice_weight * lattice + self.kl_weight * kl
        with torch.no_grad():
            right = proposal.species_logits.argmax(-1) == real.species.argmax(-1)
            accuracy = (right & atoms).sum() / num_atoms
        stats = {
            "species_loss": species,
            "direction_loss": directions,
            "lattice_loss": lattice,
            "kl": kl,
            "species_accuracy": accuracy,
        }
        return loss, {name: value.detach() for name, value in stats.items()}


@dataclasses.dataclass(frozen=True)
class PriorLoss:
    """A variational autoencoder of whole crystals: latents of atoms to crystal noise and, by the generator, back.

    loss = |latents - theirs|² / (2 `variance`) an atom + `kl_weight` times the nats that the crystal noise holds, an
    atom.

    What all atoms of a crystal have to agree on, its few elements first, must come from the noise they share, and a
    generator that has learned to read it makes crystals from any noise (Kingma & Welling 2014, arXiv:1312.6114). Beside
    a game, it keeps every training crystal within reach of the generator (Larsen et al. 2016, arXiv:1512.09300).

    Generated atoms are compared with the real ones in the order that is nearest (`nearest_order`): equal atoms have no
    order, and noise that had to tell one would be full of it. The noise of single atoms is drawn, not read: the
    generator learns here to do without it, and a game may find a use for it.

    `mixed`: the nats are those that the noise holds beyond the generator's mixture, instead of the standard normal
    distribution, found at the noise that is drawn.
    """

    variance: float = 0.2
    kl_weight: float = 1.0
    mixed: bool = False

    def __call__(
        self, encoder: NoiseEncoder, generator: Generator, posterior: Posterior, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, stats) of a batch of the encoder's posteriors."""
        latents = posterior.sample(rng)
        num = latents.values.shape[1]
        found = encoder(latents)
        noise = generator.noise(len(latents), num, rng)
        drawn = found.sample(rng).values[:, 0]
        noise = dataclasses.replace(noise, crystal=drawn)
        made = generator.make(noise, latents.num_atoms, latents.condition)
        atoms = fair(latents.mask.sum(), rng)
        target = posterior.mean[:, :num]
        order = nearest_order(made.values, target, latents.num_atoms)
        target = target.gather(1, order[..., None].expand_as(target))
        squared = (made.values - target).square().sum(-1) * latents.mask
        if self.mixed and generator.mixture is not None:
            known = generator.mixture.log_density(drawn, latents.num_atoms, latents.condition)
            held = (found.log_density(drawn[:, None])[:, 0] - known).sum()
        else:
            held = found.kl() * len(latents)
        error, kl = squared.sum() / atoms, held / atoms
        loss = error / (2 * self.variance) + self.kl_weight * kl
        stats = {"latent_error": error / latents.values.shape[2], "crystal_kl": kl * atoms / len(latents)}
        return loss, {name: value.detach() for name, value in stats.items()}


@torch.no_grad()
def nearest_order(values: Tensor, target: Tensor, num_atoms: Tensor) -> Tensor:
    """The order [B, N] of the atoms of `target` [B, N, D] in which they are nearest to `values` [B, N, D]: of all
    permutations of a crystal's atoms, the one of least squared distance in all; padding stays where it is.

    Crouse (2016), doi:10.1109/TAES.2016.140952, on the CPU.
    """
    from scipy.optimize import linear_sum_assignment

    # What is no number makes the loss none, which the trainer says; scipy would raise.
    costs = torch.cdist(values.float(), target.float()).square().nan_to_num(0.0).cpu().numpy()
    order = torch.arange(values.shape[1]).repeat(len(values), 1)
    for row, cost, n in zip(order, costs, num_atoms.tolist(), strict=True):
        row[:n] = torch.from_numpy(linear_sum_assignment(cost[:n, :n])[1])
    return order.to(values.device)


def different_pairs(real: GraphTensor) -> Tensor:
    """1 for pairs of different atoms, 0 on the diagonal and on padding, [B, 1, N, N]."""
    n = real.mask.shape[1]
    different = ~torch.eye(n, dtype=torch.bool, device=real.mask.device)
    return (real.mask[:, :, None] & real.mask[:, None, :] & different)[:, None].to(real.directions.dtype)


@torch.no_grad()
def reconstruction_errors(
    encoder: Callable[[GraphTensor], Posterior], decoder: Decoder, real: GraphTensor, batch_size: int = 256
) -> tuple[GraphTensor, dict[str, float]]:
    """The decoded means of a whole set, and what was lost on the way.

    species_accuracy (share of atoms), crystal_species_accuracy (share of crystals with every atom right),
    direction_error (RMS over pairs of different atoms and axes of decoded crystals, fractional), length_error (mean
    absolute relative error of lattice lengths).
    """
    decoded = cat([decoder(encoder(real[i : i + batch_size]).latents()) for i in range(0, len(real), batch_size)])
    atoms = real.mask
    right = (decoded.species.argmax(-1) == real.species.argmax(-1)) | ~atoms
    pairs, error = different_pairs(real), wrap(decoded.directions - real.directions)
    lengths = torch.linalg.vector_norm(decoded.lattice, dim=-1) / torch.linalg.vector_norm(real.lattice, dim=-1)
    measures = {
        "species_accuracy": float((right & atoms).sum() / atoms.sum()),
        "crystal_species_accuracy": float(right.all(1).float().mean()),
        "direction_error": float((error.square() * pairs).sum().div(3 * pairs.sum().clamp_min(1)).sqrt()),
        "length_error": float((lengths - 1).abs().mean()),
    }
    return decoded, measures
