"""What it costs to send crystals through latents and back: the autoencoder's loss and measures of reconstruction."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from graphgan.draws import fair
from graphgan.geometry import TAU, log_metric, wrap
from graphgan.graph_tensor import GraphTensor, cat
from graphgan.latents import Posterior
from graphgan.networks import Decoder


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
    direction_error (RMS over pairs of different atoms and axes after averaging, fractional), length_error (mean
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
