"""The stages of a run on graph tensors: an autoencoder, the game in its latent space, the game of graphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from graphgan.autoencoding import PriorLoss, ReconstructionLoss, reconstruction_errors
from graphgan.cli.stages import anchored, autocast, build_objective, initialising
from graphgan.config import Config
from graphgan.crystal_set import CrystalSet
from graphgan.draws import Share, normal
from graphgan.encodings import GraphEncoding
from graphgan.geometry import log_metric
from graphgan.graph_tensor import GraphTensor
from graphgan.latents import Latents, Posterior, PosteriorSet, size_of
from graphgan.networks import Decoder, Encoder, Generator, GraphCritic, LatentCritic, NoiseEncoder, standardise
from graphgan.objectives import Loss
from graphgan.ranks import ALONE, Ranks
from graphgan.sampling import Model, Sampler
from graphgan.training import Player, Trainer, adversaries

if TYPE_CHECKING:
    from pymatgen.core import Structure

KINDS: dict[str, type[nn.Module]] = {
    "encoder": Encoder,
    "decoder": Decoder,
    "generator": Generator,
    "latent_critic": LatentCritic,
    "graph_critic": GraphCritic,
    "noise_encoder": NoiseEncoder,
    "noise_critic": LatentCritic,
}
TRAINED = {
    "autoencoder": ("encoder", "decoder"),
    "prior": ("generator", "noise_encoder"),
    "mixture": ("generator", "noise_encoder"),
    "noise": ("generator",),
    "latent": ("generator", "noise_encoder"),
    "graph": ("generator", "decoder"),
}
"""Whose averages come out of a stage, as far as a run has them."""
MEASURED = 2**15
"""Crystals of the training set, at most, whose shortest distances are taken for separations."""
# What a pair of crystals gives that were one before they were encoded and decoded.
Match = Callable[[GraphTensor, GraphTensor], dict[str, float]]


class GraphStages:
    """Stages of graph tensors (`graphgan.cli.stages.Stages`).

    crystals    the training set
    validation  what `measure` reconstructs
    match       a further measure of the reconstructed against the real crystals
    """

    samples = 500

    def __init__(
        self,
        config: Config,
        encoding: GraphEncoding,
        crystals: CrystalSet,
        validation: GraphTensor,
        *,
        device: torch.device,
        match: Match | None = None,
    ) -> None:
        self.config, self.encoding, self.match = config, encoding, match
        self.crystals, self.validation = crystals.to(device), validation.to(device)
        condition_dim = 0 if crystals.condition is None else crystals.condition.shape[1]
        self.arguments = _arguments(config, encoding, condition_dim)
        with initialising(config.seed):
            self.networks = {name: KINDS[name](**self.arguments[name]).to(device) for name in self.arguments}

    def trainer(self, stage: str, ranks: Ranks = ALONE) -> Trainer:
        rng = Share(self.crystals.device, ranks).manual_seed(self.config.seed)
        if stage == "autoencoder":
            self._decoder.set_scale(log_metric(self.crystals.lattice), self.crystals.num_atoms)
            if self._decoder.agreement is not None:  # else a set on disk would be read for nothing
                self._decoder.agreement.learn(self.crystals.all_species(), self.crystals.num_atoms)
            if self._decoder.separations is not None:
                self._decoder.separations.learn(_measured(self.crystals))
            return self._autoencoder_trainer(rng)
        later = {
            "prior": self._prior_trainer,
            "mixture": self._mixture_trainer,
            "noise": self._noise_trainer,
            "latent": self._latent_trainer,
            "graph": self._graph_trainer,
        }
        return later[stage](rng)

    def averaged(self, stage: str, trainer: Trainer) -> dict[str, nn.Module]:
        average = trainer.average.network
        now = {name: self.networks[name] for name in ("encoder", "decoder")}
        return now | {name: average.get_submodule(name) for name in TRAINED[stage] if name in self.networks}

    def finish(self, stage: str, trainer: Trainer) -> None:
        for name, network in self.averaged(stage, trainer).items():
            if network is not self.networks[name]:
                self.networks[name].load_state_dict(network.state_dict())
        if stage == "autoencoder":
            encoder = self.networks["encoder"]
            standardise(encoder, self._decoder, encode_all(encoder, self.crystals))  # type: ignore[arg-type]

    def generates(self, stage: str) -> bool:
        return stage != "autoencoder"

    def measure(self, used: dict[str, nn.Module], stage: str) -> dict[str, float]:
        """How much of the validation set survives the autoencoder: generation cannot be better than it."""
        if stage != "autoencoder":
            return {}
        decoded, measures = reconstruction_errors(used["encoder"], used["decoder"], self.validation)  # type: ignore[arg-type]
        if self.match is not None:
            measures |= self.match(decoded.to("cpu"), self.validation.to("cpu"))
        return measures

    def model(self, used: dict[str, nn.Module], name: str, step: int) -> Model:
        return Model(
            name=name,
            encoding=self.encoding,
            generator=used["generator"],  # type: ignore[arg-type]
            decoder=used["decoder"],  # type: ignore[arg-type]
            config=dataclasses.asdict(self.config),
            step=step,
        )

    def sample(self, model: Sampler, n: int) -> Sequence[Structure | None]:
        """With a condition, what the training set asks for, in its order, as often as needed."""
        condition = self.crystals.condition
        if condition is not None:
            rows = torch.arange(n, device=condition.device) % len(condition)
            condition = condition[rows].cpu()
        return model.sample(n, seed=self.config.seed, condition=condition)

    @property
    def _decoder(self) -> Decoder:
        return self.networks["decoder"]  # type: ignore[return-value]

    @property
    def _generator(self) -> Generator:
        return self.networks["generator"]  # type: ignore[return-value]

    def _autoencoder_trainer(self, rng: torch.Generator) -> Trainer:
        options, encoder, decoder = self.config.autoencoder, self.networks["encoder"], self._decoder
        loss = ReconstructionLoss(options.direction_weight, options.lattice_weight, options.kl_weight)
        both = nn.ModuleDict({"encoder": encoder, "decoder": decoder})

        def reconstruct(batch: GraphTensor, rng: torch.Generator) -> Loss:
            return loss(encoder, decoder, batch, rng)

        player = Player("autoencoder", both, reconstruct, options.learning_rate, betas=(0.9, 0.99), clip_norm=1.0)
        return Trainer(
            [player],
            self.crystals,
            batch_size=options.batch_size,
            rng=rng,
            ema_decay=options.ema_decay,
            sizes=self.crystals.num_atoms,
            autocast=autocast(self.config),
        )

    def _read_noise(self, posterior: Posterior, rng: torch.Generator, step: int | None = None) -> Loss:
        """The prior's loss at a step of its stage; without a step, that of later stages, which count the noise's nats
        beyond the mixture, if there is one."""
        options = self.config.prior
        halved = options.halved_after is not None and (step is None or step >= options.halved_after)
        loss = PriorLoss(options.variance / (2 if halved else 1), options.kl_weight, mixed=step is None)
        return loss(self.networks["noise_encoder"], self._generator, posterior, rng)  # type: ignore[arg-type]

    @property
    def _generating(self) -> nn.ModuleDict:
        """What the generator's player trains in latent space: the noise encoder too, where there is one."""
        return nn.ModuleDict({name: self.networks[name] for name in TRAINED["latent"] if name in self.networks})

    def _prior_trainer(self, rng: torch.Generator) -> Trainer:
        posterior = encode_all(self.networks["encoder"], self.crystals)
        return self._reading(posterior, rng, "prior", self.config.prior.learning_rate)

    def _mixture_trainer(self, rng: torch.Generator) -> Trainer:
        posterior = encode_all(self.networks["encoder"], self.crystals)
        read = read_all(self.networks["noise_encoder"], posterior)
        drawn = torch.Generator().manual_seed(self.config.seed)
        self._generator.mixture.fit(read, self.crystals.num_atoms, drawn)  # type: ignore[union-attr]
        return self._reading(posterior, rng, "mixture", self.config.mixture.learning_rate)

    def _reading(self, posterior: Posterior, rng: torch.Generator, stage: str, learning_rate: float) -> Trainer:
        """Generator and noise encoder learn to read all crystals and to make them again."""
        options = self.config.prior

        def read(batch: Posterior, rng: torch.Generator) -> Loss:
            return self._read_noise(batch, rng, player.moves if stage == "prior" else None)

        player = Player(
            stage, self._generating, read, learning_rate, betas=(0.9, 0.99), clip_norm=1.0, fade=options.fade
        )
        return Trainer(
            [player],
            PosteriorSet(posterior),
            batch_size=options.batch_size,
            rng=rng,
            ema_decay=options.ema_decay,
            sizes=self.crystals.num_atoms,
            autocast=autocast(self.config),
        )

    def _noise_trainer(self, rng: torch.Generator) -> Trainer:
        """The game of whole crystals: one vector each, what the noise encoder reads against what mixture and shaper
        make of normal noise. The generator's other weights have no part in it, and stay."""
        options, generator, condition = self.config.noise, self._generator, self.crystals.condition
        read = read_all(self.networks["noise_encoder"], encode_all(self.networks["encoder"], self.crystals))
        size = size_of(self.crystals.num_atoms, condition, read.mean.dtype)

        def fake(real: Latents, rng: torch.Generator) -> Latents:
            noise = normal(len(real), generator.crystal_noise, rng=rng)
            made = generator.shape(noise, *_of_size(real.condition))  # type: ignore[arg-type]
            return real.replace(values=made[:, None])

        players = adversaries(
            build_objective(options.objective, options.objective_options),
            self.networks["noise_critic"],
            nn.ModuleDict({"generator": generator}),
            real=lambda posterior, rng: posterior.sample(rng),
            fake=fake,
            critic_steps=options.critic_steps,
            learning_rate=options.learning_rate,
            critic_learning_rate=options.critic_learning_rate,
        )
        data = PosteriorSet(dataclasses.replace(read, condition=size))
        return Trainer(players, data, batch_size=options.batch_size, rng=rng, ema_decay=options.ema_decay)

    def _latent_trainer(self, rng: torch.Generator) -> Trainer:
        options, generator = self.config.latent, self._generator
        posterior = encode_all(self.networks["encoder"], self.crystals)
        spread = posterior.spread()

        def fake(real: Latents, rng: torch.Generator) -> Latents:
            noise = generator.noise(len(real), real.values.shape[1], rng)
            made: Latents = generator(noise, real.num_atoms, real.condition)
            return made.blur(spread, rng) if options.instance_noise else made

        critic, player = adversaries(
            build_objective(options.objective, options.objective_options),
            self.networks["latent_critic"],
            self._generating,
            real=lambda posterior, rng: posterior.sample(rng),
            fake=fake,
            critic_steps=options.critic_steps,
            learning_rate=options.learning_rate,
            critic_learning_rate=options.critic_learning_rate,
        )
        if options.anchor:
            player = dataclasses.replace(player, loss=anchored(player.loss, self._read_noise, options.anchor))
        return Trainer(
            [critic, player],
            PosteriorSet(posterior),
            batch_size=options.batch_size,
            rng=rng,
            ema_decay=options.ema_decay,
            sizes=self.crystals.num_atoms if options.by_size else None,
            autocast=autocast(self.config),
            # What pairs atoms for the anchor runs on the CPU, where no CUDA graph reaches.
            capture=self.config.cuda_graph and not options.anchor,
        )

    def _graph_trainer(self, rng: torch.Generator) -> Trainer:
        options, generator, decoder = self.config.graph, self._generator, self._decoder

        def fake(real: GraphTensor, rng: torch.Generator) -> GraphTensor:
            noise = generator.noise(len(real), real.species.shape[1], rng)
            made = decoder(generator(noise, real.num_atoms, real.condition))
            return made if options.species == "soft" else made.replace(species=straight_through(made.species))

        players = adversaries(
            build_objective(options.objective, options.objective_options),
            self.networks["graph_critic"],
            nn.ModuleDict({"generator": generator, "decoder": decoder}),
            real=lambda batch, rng: batch,
            fake=fake,
            critic_steps=options.critic_steps,
            learning_rate=options.learning_rate,
            critic_learning_rate=options.critic_learning_rate,
        )
        return Trainer(players, self.crystals, batch_size=options.batch_size, rng=rng, ema_decay=options.ema_decay)


def _arguments(config: Config, encoding: GraphEncoding, condition_dim: int) -> dict[str, dict[str, Any]]:
    """The arguments of the networks' constructors, in the order in which they are initialised."""
    auto, latent, graph = config.autoencoder, config.latent, config.graph
    species = {"num_species": len(encoding.elements), "condition_dim": condition_dim}
    size = {"latent_dim": auto.latent_dim, "condition_dim": condition_dim}
    equivariant = {"channels": auto.channels, "lmax": auto.lmax, "cutoff": auto.cutoff}
    game = {"hidden": latent.hidden, "layers": latent.layers, "heads": latent.heads}
    noise = {"crystal_noise": latent.crystal_noise}
    arguments: dict[str, dict[str, Any]] = {
        "encoder": species
        | equivariant
        | {"latent_dim": auto.latent_dim, "hidden": auto.hidden, "layers": auto.encoder_layers},
        "decoder": species
        | {"latent_dim": auto.latent_dim, "hidden": auto.hidden, "layers": auto.decoder_layers}
        | {"heads": auto.heads, "rounds": auto.rounds}
        | ({"agreement": auto.agreement, "max_atoms": encoding.max_atoms} if auto.agreement else {})
        | ({"separations": auto.separations} if auto.separations else {}),
        "generator": size
        | game
        | {"crystal_noise": latent.crystal_noise, "atom_noise": latent.atom_noise, "num_slots": encoding.max_atoms},
        "latent_critic": size
        | game
        | {"hidden": latent.critic_hidden or latent.hidden, "spectral_norm": latent.spectral_norm},
        "graph_critic": species
        | equivariant
        | {"hidden": graph.hidden, "layers": graph.layers, "spectral_norm": graph.spectral_norm},
    }
    if config.prior.share or latent.anchor:
        arguments["noise_encoder"] = size | noise | game | {"layers": config.prior.layers}
    if config.mixture.share:
        arguments["generator"]["components"] = config.mixture.components
    if config.noise.share:
        arguments["generator"]["shape_hidden"] = config.noise.hidden
        arguments["noise_critic"] = game | {
            "latent_dim": latent.crystal_noise,
            "hidden": config.noise.hidden,
            "condition_dim": 1 + condition_dim,
        }
    return arguments


def _measured(crystals: CrystalSet) -> Iterator[GraphTensor]:
    """Crystals, evenly spaced in the set, whose shortest distances are taken, in batches of so many pairs of atoms."""
    count = min(len(crystals), MEASURED)
    rows = torch.arange(count) * len(crystals) // count
    return (crystals[some] for some in rows.split(max(1, 2**17 // crystals.max_atoms**2)))


def _of_size(size: Tensor) -> tuple[Tensor, Tensor | None]:
    """Atom counts and condition of `graphgan.latents.size_of`."""
    return size[:, 0].exp().round().long(), size[:, 1:] if size.shape[1] > 1 else None


@torch.no_grad()
def encode_all(encoder: Callable[[GraphTensor], Posterior], crystals: CrystalSet, batch_size: int = 256) -> Posterior:
    """The posterior of a whole set, with the set's padding."""
    num = crystals.max_atoms
    parts = []
    for start in range(0, len(crystals), batch_size):
        part = encoder(crystals[start : start + batch_size])
        extra = (0, 0, 0, num - part.mean.shape[1])
        parts.append([nn.functional.pad(t, extra) for t in (part.mean, part.log_variance)])
    mean, log_variance = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return Posterior(mean=mean, log_variance=log_variance, num_atoms=crystals.num_atoms, condition=crystals.condition)


@torch.no_grad()
def read_all(reader: Callable[[Latents], Posterior], posterior: Posterior, batch_size: int = 256) -> Posterior:
    """The noise [n, 1, G] that is read from the means of a whole set's latents."""
    latents = posterior.latents()
    parts = [reader(latents[start : start + batch_size].trim()) for start in range(0, len(latents), batch_size)]
    mean, log_variance = (torch.cat([getattr(p, name) for p in parts]) for name in ("mean", "log_variance"))
    return Posterior(mean=mean, log_variance=log_variance, num_atoms=torch.ones_like(posterior.num_atoms))


def straight_through(species: Tensor) -> Tensor:
    """One-hot of the heaviest species [B, N, K] with the gradient of the weights; padding stays 0.

    Bengio et al. (2013), arXiv:1308.3432. A critic that sees soft weights beside one-hot reals tells them apart by
    softness alone.
    """
    hard = nn.functional.one_hot(species.argmax(-1), species.shape[-1]).to(species.dtype)
    hard = hard * (species.sum(-1, keepdim=True) > 0)
    return hard + species - species.detach()
