"""The stages of a run: which networks play, on what data, with which loss. Turns a Config into trainers."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from graphgan.autoencoding import ReconstructionLoss
from graphgan.config import Config, build
from graphgan.crystal_set import CrystalSet
from graphgan.draws import Share
from graphgan.encodings import GraphEncoding
from graphgan.geometry import log_metric
from graphgan.graph_tensor import GraphTensor
from graphgan.latents import Latents, Posterior, PosteriorSet
from graphgan.networks import Decoder, Encoder, Generator, GraphCritic, LatentCritic, standardise
from graphgan.objectives import OBJECTIVES, Loss, Objective
from graphgan.ranks import ALONE, Ranks
from graphgan.training import Player, Trainer, adversaries


@dataclasses.dataclass(eq=False)
class Networks:
    """All networks of a run and the arguments that rebuild them."""

    encoder: Encoder
    decoder: Decoder
    generator: Generator
    latent_critic: LatentCritic
    graph_critic: GraphCritic
    arguments: dict[str, dict[str, Any]]

    def modules(self) -> dict[str, nn.Module]:
        """By name."""
        return {name: getattr(self, name) for name in self.arguments}


def build_objective(stage: str, config: Config) -> Objective:
    """The objective of a game; ConfigError for a name or options that are none."""
    options = config.graph if stage == "graph" else config.latent
    return build(options.objective, OBJECTIVES, options.objective_options)


def build_networks(config: Config, encoding: GraphEncoding, condition_dim: int, device: torch.device) -> Networks:
    """Freshly initialised networks; the same for the same seed."""
    auto, latent, graph = config.autoencoder, config.latent, config.graph
    species = {"num_species": len(encoding.elements), "condition_dim": condition_dim}
    size = {"latent_dim": auto.latent_dim, "condition_dim": condition_dim}
    equivariant = {"channels": auto.channels, "lmax": auto.lmax, "cutoff": auto.cutoff}
    game = {"hidden": latent.hidden, "layers": latent.layers, "heads": latent.heads}
    arguments: dict[str, dict[str, Any]] = {
        "encoder": species
        | equivariant
        | {"latent_dim": auto.latent_dim, "hidden": auto.hidden, "layers": auto.encoder_layers},
        "decoder": species
        | {"latent_dim": auto.latent_dim, "hidden": auto.hidden, "layers": auto.decoder_layers}
        | {"heads": auto.heads, "rounds": auto.rounds},
        "generator": size
        | game
        | {"crystal_noise": latent.crystal_noise, "atom_noise": latent.atom_noise, "num_slots": encoding.max_atoms},
        "latent_critic": size | game | {"spectral_norm": latent.spectral_norm},
        "graph_critic": species
        | equivariant
        | {"hidden": graph.hidden, "layers": graph.layers, "spectral_norm": graph.spectral_norm},
    }
    kinds = {
        "encoder": Encoder,
        "decoder": Decoder,
        "generator": Generator,
        "latent_critic": LatentCritic,
        "graph_critic": GraphCritic,
    }
    # torch initialises from its global generator: seed a fork of it, and leave the caller's as it was.
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        built = {name: kinds[name](**arguments[name]).to(device) for name in arguments}
    return Networks(**built, arguments=arguments)


def build_trainer(
    stage: str, config: Config, networks: Networks, crystals: CrystalSet, ranks: Ranks = ALONE
) -> Trainer:
    """The trainer of a stage, at its first step. Networks of earlier stages must be finished (`finish_stage`)."""
    rng = Share(crystals.lattice.device, ranks).manual_seed(config.seed)
    if stage == "autoencoder":
        networks.decoder.set_scale(log_metric(crystals.lattice), crystals.num_atoms)
        return _autoencoder_trainer(config, networks, crystals, rng)
    if stage == "latent":
        return _latent_trainer(config, networks, crystals, rng)
    return _graph_trainer(config, networks, crystals, rng)


def finish_stage(stage: str, networks: Networks, trainer: Trainer, crystals: CrystalSet) -> None:
    """Take the averaged weights over as the networks' own."""
    average = trainer.average.network
    if stage == "autoencoder":
        networks.encoder.load_state_dict(average.get_submodule("encoder").state_dict())
        networks.decoder.load_state_dict(average.get_submodule("decoder").state_dict())
        standardise(networks.encoder, networks.decoder, encode_all(networks.encoder, crystals).latents())
    elif stage == "latent":
        networks.generator.load_state_dict(average.state_dict())
    else:
        networks.generator.load_state_dict(average.get_submodule("generator").state_dict())
        networks.decoder.load_state_dict(average.get_submodule("decoder").state_dict())


def sampling_networks(stage: str, networks: Networks, trainer: Trainer) -> dict[str, nn.Module]:
    """The networks as they would be used now: averaged where the stage trains them."""
    average = trainer.average.network
    if stage == "autoencoder":
        return {"encoder": average.get_submodule("encoder"), "decoder": average.get_submodule("decoder")}
    now: dict[str, nn.Module] = {"encoder": networks.encoder, "decoder": networks.decoder}
    if stage == "latent":
        return now | {"generator": average}
    return now | {
        "generator": average.get_submodule("generator"),
        "decoder": average.get_submodule("decoder"),
    }


@torch.no_grad()
def encode_all(encoder: Encoder, crystals: CrystalSet, batch_size: int = 256) -> Posterior:
    """The posterior of a whole set, with the set's padding."""
    num = crystals.max_atoms
    parts = []
    for start in range(0, len(crystals), batch_size):
        part = encoder(crystals[start : start + batch_size])
        extra = (0, 0, 0, num - part.mean.shape[1])
        parts.append([nn.functional.pad(t, extra) for t in (part.mean, part.log_variance)])
    mean, log_variance = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return Posterior(mean=mean, log_variance=log_variance, num_atoms=crystals.num_atoms, condition=crystals.condition)


def _autoencoder_trainer(config: Config, networks: Networks, crystals: CrystalSet, rng: torch.Generator) -> Trainer:
    options = config.autoencoder
    loss = ReconstructionLoss(options.direction_weight, options.lattice_weight, options.kl_weight)
    both = nn.ModuleDict({"encoder": networks.encoder, "decoder": networks.decoder})

    def reconstruct(batch: GraphTensor, rng: torch.Generator) -> Loss:
        return loss(networks.encoder, networks.decoder, batch, rng)

    player = Player("autoencoder", both, reconstruct, options.learning_rate, betas=(0.9, 0.99), clip_norm=1.0)
    return Trainer(
        [player],
        crystals,
        batch_size=options.batch_size,
        rng=rng,
        ema_decay=options.ema_decay,
        sizes=crystals.num_atoms,
        autocast=_autocast(config),
    )


def _latent_trainer(config: Config, networks: Networks, crystals: CrystalSet, rng: torch.Generator) -> Trainer:
    options = config.latent
    generator = networks.generator

    def fake(real: Latents, rng: torch.Generator) -> Latents:
        noise = generator.noise(len(real), real.values.shape[1], rng)
        return generator(noise, real.num_atoms, real.condition)

    players = adversaries(
        build_objective("latent", config),
        networks.latent_critic,
        generator,
        real=lambda posterior, rng: posterior.sample(rng),
        fake=fake,
        critic_steps=options.critic_steps,
        learning_rate=options.learning_rate,
        critic_learning_rate=options.critic_learning_rate,
    )
    return Trainer(
        players,
        PosteriorSet(encode_all(networks.encoder, crystals)),
        batch_size=options.batch_size,
        rng=rng,
        ema_decay=options.ema_decay,
        autocast=_autocast(config),
        capture=config.cuda_graph,
    )


def _autocast(config: Config) -> torch.dtype | None:
    return torch.bfloat16 if config.precision == "bf16" else None


def _graph_trainer(config: Config, networks: Networks, crystals: CrystalSet, rng: torch.Generator) -> Trainer:
    options = config.graph
    generator, decoder = networks.generator, networks.decoder
    both = nn.ModuleDict({"generator": generator, "decoder": decoder})

    def fake(real: GraphTensor, rng: torch.Generator) -> GraphTensor:
        noise = generator.noise(len(real), real.species.shape[1], rng)
        made = decoder(generator(noise, real.num_atoms, real.condition))
        return made if options.species == "soft" else made.replace(species=straight_through(made.species))

    players = adversaries(
        build_objective("graph", config),
        networks.graph_critic,
        both,
        real=lambda batch, rng: batch,
        fake=fake,
        critic_steps=options.critic_steps,
        learning_rate=options.learning_rate,
        critic_learning_rate=options.critic_learning_rate,
    )
    return Trainer(players, crystals, batch_size=options.batch_size, rng=rng, ema_decay=options.ema_decay)


def straight_through(species: Tensor) -> Tensor:
    """One-hot of the heaviest species [B, N, K] with the gradient of the weights; padding stays 0.

    Bengio et al. (2013), arXiv:1308.3432. A critic that sees soft weights beside one-hot reals tells them apart by
    softness alone.
    """
    hard = nn.functional.one_hot(species.argmax(-1), species.shape[-1]).to(species.dtype)
    hard = hard * (species.sum(-1, keepdim=True) > 0)
    return hard + species - species.detach()
