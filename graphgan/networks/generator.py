"""Generator: noise -> per-atom latents, in one pass."""

import dataclasses

import torch
from torch import Tensor, nn

from graphgan.draws import normal
from graphgan.graph_tensor import atom_mask
from graphgan.latents import Latents, size_of
from graphgan.networks.attention import SetTransformer
from graphgan.networks.mixture import NoiseMixture


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """What a generator starts from.

    crystal  [B, G]     standard normal, before `Generator.shape`
    atoms    [B, N, A]  standard normal
    slots    [B, N]     int64, a different number for every atom of a crystal: its role
    """

    crystal: Tensor
    atoms: Tensor
    slots: Tensor

    def __getitem__(self, index: Tensor | slice) -> "Noise":
        return Noise(self.crystal[index], self.atoms[index], self.slots[index])

    def to(self, device: torch.device | str) -> "Noise":
        """The same noise on `device`."""
        return Noise(self.crystal.to(device), self.atoms.to(device), self.slots.to(device))


class NoiseShaper(nn.Module):
    """Standard normal numbers -> the noise that crystals were read to have, given their size; at first the identity.

    What an encoder reads from real crystals is only nearly standard normal, and where it is not, noise stands for
    crystals that nobody has seen: compositions, above all, that are none.
    """

    def __init__(self, crystal_noise: int, hidden: int, condition_dim: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(crystal_noise + 1 + condition_dim, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, crystal_noise),
        )
        nn.init.zeros_(self.layers[4].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[4].bias)  # type: ignore[arg-type]

    def forward(self, crystal: Tensor, size: Tensor) -> Tensor:
        """crystal [B, G]; size [B, 1 + C]: log of the atom count, and the condition."""
        return crystal + self.layers(torch.cat([crystal, size], dim=-1)).to(crystal.dtype)


class Generator(nn.Module):
    """Noise of the crystal and of every atom -> Latents, equivariant to the order of the atoms' noise and slots.

    Atoms of one crystal have different roles (one A, one B, three X), and equals that have to agree on who plays which
    by noise alone agree slowly and not always: two end up in one place. So every atom brings a slot, a number that no
    other atom of its crystal has, beside its noise.

    Global and per-atom noise together follow EPiC-GAN (Buhmann et al. 2023, arXiv:2301.08128). The output is in the
    encoder's latents, which have mean 0 and variance 1 over the training set once the autoencoder is fitted. With
    `components`, the crystals' noise is that of a `NoiseMixture`; with `shape_hidden`, a `NoiseShaper` of so many
    features comes after it.
    """

    def __init__(
        self,
        latent_dim: int = 8,
        hidden: int = 128,
        layers: int = 3,
        heads: int = 4,
        crystal_noise: int = 32,
        atom_noise: int = 16,
        num_slots: int = 64,
        condition_dim: int = 0,
        shape_hidden: int = 0,
        components: int = 0,
    ) -> None:
        super().__init__()
        self.crystal_noise, self.atom_noise = crystal_noise, atom_noise
        self.embed_crystal = nn.Linear(crystal_noise + 1 + condition_dim, hidden)
        self.embed_atoms = nn.Linear(atom_noise, hidden)
        self.embed_slots = nn.Embedding(num_slots, hidden)
        self.transformer = SetTransformer(hidden, layers, heads)
        self.head = nn.Linear(hidden, latent_dim)
        with torch.random.fork_rng(devices=[]):  # other networks begin as they would without it
            self.shaper = NoiseShaper(crystal_noise, shape_hidden, condition_dim) if shape_hidden else None
            self.mixture = NoiseMixture(crystal_noise, components, num_slots, condition_dim) if components else None

    def noise(self, num_crystals: int, num: int, rng: torch.Generator) -> Noise:
        """Noise for `num_crystals` crystals padded to `num` atoms, from rng, on its device."""
        crystal = normal(num_crystals, self.crystal_noise, rng=rng)
        atoms = normal(num_crystals, num, self.atom_noise, rng=rng)
        slots = torch.arange(num, device=rng.device).expand(num_crystals, num)
        return Noise(crystal, atoms, slots)

    def forward(self, noise: Noise, num_atoms: Tensor, condition: Tensor | None = None) -> Latents:
        crystal = self.shape(noise.crystal, num_atoms, condition)
        return self.make(dataclasses.replace(noise, crystal=crystal), num_atoms, condition)

    def shape(self, crystal: Tensor, num_atoms: Tensor, condition: Tensor | None = None) -> Tensor:
        """Standard normal numbers [B, G] -> crystal noise [B, G], through mixture and shaper, as far as there are."""
        if self.mixture is not None:
            crystal = self.mixture(crystal, num_atoms, condition)
        if self.shaper is not None:
            crystal = self.shaper(crystal, size_of(num_atoms, condition, crystal.dtype))
        return crystal

    def make(self, noise: Noise, num_atoms: Tensor, condition: Tensor | None = None) -> Latents:
        """Latents of noise whose crystal numbers have been read, or shaped, already."""
        mask = atom_mask(num_atoms, noise.atoms.shape[1])
        crystal = torch.cat([noise.crystal, size_of(num_atoms, condition, noise.crystal.dtype)], dim=-1)
        h = self.embed_atoms(noise.atoms) + self.embed_slots(noise.slots)
        h = h + self.embed_crystal(crystal)[:, None]
        # Under autocast the head speaks bfloat16; what a game measures distances between does not.
        values = self.head(self.transformer(h, mask)).to(noise.atoms.dtype)
        return Latents(values=values * mask[..., None], num_atoms=num_atoms, condition=condition)
