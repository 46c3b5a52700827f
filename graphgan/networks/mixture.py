"""Noise mixture: standard normal noise -> a mixture of normal distributions of the noise of whole crystals."""

import math

import torch
from torch import Tensor, nn

from graphgan.draws import normal
from graphgan.latents import Posterior

NARROWEST = 0.03
"""Standard deviation of a component at the start, at least."""
UNSEEN = 0.5
"""Crystals of any size whose components are added, at the start, to those of each size."""
ROUNDS = 30
"""Rounds of expectation and maximisation at the start."""
MOST_FITTED = 20_000
"""Crystals that the start is fitted to, drawn at random."""


class NoiseMixture(nn.Module):
    """K normal distributions of crystal noise [G], their weights by the number of atoms and the condition.

    Crystals that are known fill little of a space in which all noise is equally likely: most noise would stand for
    crystals between them. A mixture says where they are. As a prior of a variational autoencoder: Tomczak & Welling
    (2018), arXiv:1705.07120; as the noise of a generator in a game: Gurumurthy et al. (2017), arXiv:1706.02071.

    At first every component is the standard normal distribution; `fit` puts them where crystals are.
    """

    def __init__(self, crystal_noise: int, components: int, max_atoms: int, condition_dim: int = 0) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.zeros(components, crystal_noise))
        self.log_widths = nn.Parameter(torch.zeros(components, crystal_noise))
        self.log_weights = nn.Parameter(torch.zeros(max_atoms + 1, components))
        self.of_condition = nn.Linear(condition_dim, components, bias=False) if condition_dim else None
        if self.of_condition is not None:
            nn.init.zeros_(self.of_condition.weight)

    def _weights(self, num_atoms: Tensor, condition: Tensor | None) -> Tensor:
        """Logits [B, K]."""
        logits = self.log_weights[num_atoms]
        return logits if self.of_condition is None else logits + self.of_condition(condition)

    def forward(self, crystal: Tensor, num_atoms: Tensor, condition: Tensor | None = None) -> Tensor:
        """Standard normal numbers [B, G] -> noise [B, G] of the mixture, the same for the same numbers.

        The first number decides the component. What it has left, where it stands among all numbers that decide so, is
        uniform and independent, and serves as that component's first number. Weights get no gradient: that of a choice
        is not the slope of what is chosen. `log_density` trains them.
        """
        shares = self._weights(num_atoms, condition).detach().double().softmax(-1)
        ends = shares.cumsum(-1)
        decides = torch.special.ndtr(crystal[:, :1].double()) * ends[:, -1:]
        which = torch.searchsorted(ends, decides).clamp_max(ends.shape[1] - 1)
        share = shares.gather(1, which)
        left = (decides - (ends.gather(1, which) - share)) / share
        first = torch.special.ndtri(left.clamp(1e-9, 1 - 1e-9)).to(crystal.dtype)
        numbers, place = torch.cat([first, crystal[:, 1:]], dim=1), which[:, 0]
        return self.means[place] + self.log_widths[place].exp() * numbers

    def log_density(self, crystal: Tensor, num_atoms: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log of the density at noise [B, G], in nats [B]; O(B K G) of memory."""
        squared = ((crystal[:, None] - self.means) * torch.exp(-self.log_widths)).square().sum(-1)
        size = self.log_widths.sum(-1) + 0.5 * self.means.shape[1] * math.log(2 * math.pi)
        shares = self._weights(num_atoms, condition).log_softmax(-1)
        return torch.logsumexp(shares - 0.5 * squared - size, dim=-1)

    @torch.no_grad()
    def fit(self, read: Posterior, num_atoms: Tensor, rng: torch.Generator) -> None:
        """Fit means, widths and weights to the noise `read` [n, 1, G] of crystals of so many atoms [n], by expectation
        and maximisation (Dempster et al. 1977, doi:10.1111/j.2517-6161.1977.tb01600.x) of the expected density.

        Components begin at crystals far from one another, in units of the noise of what was read (Arthur &
        Vassilvitskii 2007, k-means++), drawn by `rng`, which is on the CPU. Of more components than crystals, several
        are the same.
        """
        from sklearn.cluster import kmeans_plusplus

        components = len(self.means)
        order = normal(len(num_atoms), rng=rng).argsort().to(self.means.device)
        chosen = order[:MOST_FITTED]
        means, variances = read.mean[chosen, 0], read.log_variance[chosen, 0].exp()
        sizes = num_atoms[chosen]
        apart = (means * variances.mean(0).rsqrt()).cpu().numpy()
        _, begins = kmeans_plusplus(apart, min(components, len(apart)), random_state=rng.initial_seed() % 2**32)
        begins = torch.from_numpy(begins).to(means.device)
        self.means.copy_(means[begins.repeat(-(-components // len(begins)))[:components]])
        narrowest = variances.mean(0).clamp_min(NARROWEST**2)
        self.log_widths.copy_(0.5 * narrowest.log().expand_as(self.log_widths))
        self.log_weights.zero_()
        of_size = nn.functional.one_hot(sizes, len(self.log_weights)).to(means.dtype)  # [n, N + 1]
        for _ in range(ROUNDS):
            self._round(means, variances, sizes, of_size)

    def _round(self, means: Tensor, variances: Tensor, sizes: Tensor, of_size: Tensor) -> None:
        """One round of expectation and maximisation on normal distributions [n, G] of crystals of `sizes` [n]."""
        precision = torch.exp(-2 * self.log_widths)  # [K, G]
        squared = (means.square() + variances) @ precision.mT - 2 * means @ (self.means * precision).mT
        logits = self.log_weights.log_softmax(-1)[sizes] - 0.5 * (squared + (self.means.square() * precision).sum(-1))
        share = (logits - self.log_widths.sum(-1)).softmax(-1)  # [n, K]
        held = share.sum(0)[:, None]
        some = held > 1e-3  # a component without crystals stays where it is
        mean = (share.mT @ means) / held.clamp_min(1e-3)
        variance = (share.mT @ (means.square() + variances)) / held.clamp_min(1e-3) - mean.square()
        self.means.copy_(torch.where(some, mean, self.means))
        widths = 0.5 * variance.clamp_min(NARROWEST**2).log()
        self.log_widths.copy_(torch.where(some, widths, self.log_widths))
        counts = of_size.mT @ share + UNSEEN * share.mean(0)
        self.log_weights.copy_(counts.clamp_min(1e-9).log())
