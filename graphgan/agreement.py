"""The formula of a crystal by agreement: every atom votes, and the training set says which formulas there tend to be.

Atoms that each take their likeliest element disagree by little and often: a binary crystal comes out with five
elements, and MgO2 with thirteen O for six Mg. So a crystal takes the formula F that is likeliest for all its atoms,
    minimise over F and over who plays which part:  Σ over atoms -log p(element | atom)  -  weight · log P(F | n atoms),
    log P(F | n) = log P(anonymised formula | n) + Σ over its elements log [P(element | part in formula) / P(element)].
ABX3 is an anonymised formula, and A, B and X are its parts: which elements play them, and how often, is counted in the
training set. With weight 1 that is the maximum a posteriori where atoms err independently; they do not quite, so more
may be better. The atoms of k elements are counted as one of the distinct orders of a formula, all equally likely before
their parts are looked at; or as none that the training set has often, all ways to count being equally likely then.

Elements are found one at a time, each the one that saves most, as in facility location, Cornuéjols et al. (1977),
doi:10.1287/mnsc.23.8.789; the atoms are then dealt among them exactly, by dynamic programming over counts. Substituting
elements by what is counted of them in formulas is the idea of Hautier et al. (2011), doi:10.1021/ic102031h.

Shapes: logits [B, N, K] of N atoms for K elements; mask [B, N] true for atoms; species [n, N] integers.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

MOST_ELEMENTS = 8
"""Elements a crystal that agreement tells apart; what has more, in the training set or in a sample, counts as this."""
MOST_PARTS = 4
"""Elements of formulas that are known; crystals of more elements agree on their elements alone."""
FORMULAS = 64
"""Anonymised formulas of each number of elements that are known, the most frequent ones."""
SMOOTHING = 5.0
"""Crystals of any size whose distribution is added to that of each size."""
PART_SMOOTHING = 20.0
"""Crystals of any formula whose elements are added to those of each part."""
STATES = 2**14
"""Counts of elements that are compared for a crystal; formulas of elements so many that there are more are unknown."""
_NUMBERS = 2**26
"""Numbers that are held at a time while atoms are counted."""
_UNLIKELY = 50.0
"""Nats beyond which a vote against an element is no stronger."""


class Agreement(nn.Module):
    """Which formula the atoms of a crystal agree on; learns from a training set without training.

    Buffers: `element_costs` [N + 1, MOST_ELEMENTS], -log P(k elements | n atoms); `formulas` [MOST_PARTS, FORMULAS,
    MOST_PARTS], those of 1 ... MOST_PARTS elements as counts without a common divisor, the largest first, 0 where there
    is none; `formula_costs` [N + 1, MOST_PARTS, FORMULAS], -log P(formula | n); `part_costs` [MOST_PARTS, FORMULAS,
    MOST_PARTS, K], -log P(element | part) / P(element); `unknown_costs` [MOST_ELEMENTS], -log P(other formula | k
    elements), 0 where none is known.
    """

    element_costs: Tensor
    formulas: Tensor
    formula_costs: Tensor
    part_costs: Tensor
    unknown_costs: Tensor

    def __init__(self, num_species: int, max_atoms: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        compared = (k for k in range(1, MOST_PARTS + 1) if (max_atoms + 1) ** (k - 1) <= STATES)
        self.parts = max(compared)
        self.register_buffer("element_costs", torch.zeros(max_atoms + 1, MOST_ELEMENTS))
        known = MOST_PARTS, FORMULAS
        self.register_buffer("formulas", torch.zeros(*known, MOST_PARTS, dtype=torch.int64))
        self.register_buffer("formula_costs", torch.full((max_atoms + 1, *known), _UNLIKELY))
        self.register_buffer("part_costs", torch.zeros(*known, MOST_PARTS, num_species))
        self.register_buffer("unknown_costs", torch.zeros(MOST_ELEMENTS))

    def learn(self, species: Tensor, num_atoms: Tensor) -> None:
        """Count elements and formulas of a training set of elements [n, N] and sizes [n]."""
        learned = formula_costs(species, num_atoms, self.part_costs.shape[-1])
        self.element_costs.copy_(element_costs(species, num_atoms))
        for name, values in zip(("formulas", "formula_costs", "part_costs", "unknown_costs"), learned, strict=True):
            self.get_buffer(name).copy_(values)
        self.unknown_costs[self.parts :] = 0

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The logits with every element outside the formula at -1e4, and the element that an atom is dealt at least 1
        above the others of the formula. Equivariant to the order of atoms, and blind to padding; gradients pass."""
        dealt, formula = self.deal(logits.detach(), mask)
        kept = logits.masked_fill(~formula[:, None], -1e4)
        own = kept.gather(2, dealt[..., None])
        others = kept.scatter(2, dealt[..., None], -1e4).amax(-1, keepdim=True)
        lift = (others + 1 - own).detach().clamp_min(0) * mask[..., None]
        return kept.scatter_add(2, dealt[..., None], lift)

    @torch.no_grad()
    def deal(self, logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The element of every atom [B, N] (of padding: any), and which elements [B, K] the formula has."""
        at_a_time = max(1, _NUMBERS // (mask.shape[1] + 1) ** self.parts)
        parts = [self._deal(*some) for some in zip(logits.split(at_a_time), mask.split(at_a_time), strict=True)]
        dealt, formulas = zip(*parts, strict=True)
        return torch.cat(dealt), torch.cat(formulas)

    def _deal(self, logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        against = (-logits.float().log_softmax(-1)).clamp_max(_UNLIKELY) * mask[..., None]  # padding votes for nobody
        size = mask.sum(1)
        elements, sums = found_elements(against, mask)  # [B, S]
        costs = (self.element_costs[size] + self.unknown_costs)[:, : sums.shape[1]] + ways(size, sums.shape[1])
        best, count = (sums + self.weight * costs).min(1)
        count = count + 1
        # The first elements found are the set; who is in no known formula takes the best of them.
        rank = torch.arange(elements.shape[1], device=logits.device)
        outside = (rank >= count[:, None])[:, None] * 2 * _UNLIKELY
        votes = against.gather(2, elements[:, None].expand(-1, mask.shape[1], -1))  # [B, N, S]
        place = (votes + outside).argmin(2)
        for parts in range(1, min(self.parts, elements.shape[1]) + 1):
            tables = counted(votes[..., :parts], mask)
            total, counts = self._best_formula(tables[-1], size, elements[:, :parts])
            better = total < best
            best, count = torch.where(better, total, best), torch.where(better, parts, count)
            place = torch.where(better[:, None], dealt_out(tables, votes[..., :parts], mask, counts), place)
        chosen = torch.zeros_like(logits[:, 0], dtype=torch.bool)
        return elements.gather(1, place), chosen.scatter(1, elements, rank < count[:, None])

    def _best_formula(self, table: Tensor, size: Tensor, elements: Tensor) -> tuple[Tensor, Tensor]:
        """The least total cost [B] of the known formulas of `parts` elements over all ways to give these parts to the
        elements [B, parts], and how many atoms each of these then has [B, parts]; `table` is the last of `counted`."""
        parts = elements.shape[1]
        formulas, part_costs = self.formulas[parts - 1, :, :parts], self.part_costs[parts - 1, :, :parts]
        orders = torch.tensor(list(itertools.permutations(range(parts))), device=table.device)  # [P, parts]
        ordered = formulas[:, orders]  # [F, P, parts]
        reduced = ordered.flatten(0, 1)  # [F P, parts], FORMULAS each in P orders
        whole = reduced.sum(1).clamp_min(1)
        times = size[:, None] // whole  # [B, F P]
        counts = times[..., None] * reduced
        total = table.reshape(len(table), -1).gather(1, (counts * _digits(table)).sum(-1))
        alike = (ordered[:, :, None] == ordered[:, None]).all(-1).sum(-1)  # [F, P]
        distinct = torch.log(len(orders) / alike).flatten()
        prior = self.formula_costs[size, parts - 1].repeat_interleave(len(orders), 1) + distinct
        for j in range(parts):
            prior = prior + part_costs[:, orders[:, j]].flatten(0, 1)[:, elements[:, j]].mT
        fits = (times * whole == size[:, None]) & (reduced[:, 0] > 0)
        least, which = (total + self.weight * prior).masked_fill(~fits, torch.inf).min(1)
        return least, counts.gather(1, which[:, None, None].expand(-1, 1, parts))[:, 0]


def element_costs(species: Tensor, num_atoms: Tensor) -> Tensor:
    """-log P(k elements | n atoms) for n = 0 ... N and k = 1 ... MOST_ELEMENTS, [N + 1, MOST_ELEMENTS] float32, of a
    training set of elements [n, N] (integers) and sizes [n]; `_UNLIKELY` where more elements than atoms.

    Sizes that are rare borrow from all others (`SMOOTHING`).
    """
    most = species.shape[1]
    atoms = torch.arange(most, device=species.device) < num_atoms[:, None]
    # Sorted, every element begins where its neighbour is another one; padding, -1, comes first and is none.
    kinds = species.to(torch.int16).masked_fill(~atoms, -1).sort(1).values
    begins = torch.cat([kinds[:, :1] >= 0, kinds[:, 1:] != kinds[:, :-1]], dim=1)
    distinct = begins.sum(1).clamp_max(MOST_ELEMENTS)
    flat = torch.bincount(num_atoms * MOST_ELEMENTS + distinct - 1, minlength=(most + 1) * MOST_ELEMENTS)
    counts = flat.view(most + 1, MOST_ELEMENTS).double().cpu()
    sizes, elements = torch.arange(most + 1)[:, None], torch.arange(1, MOST_ELEMENTS + 1)
    possible = (elements <= sizes).to(counts.dtype)
    anywhere = (counts.sum(0) + 1e-3) * possible
    smooth = counts + SMOOTHING * anywhere / anywhere.sum(1, keepdim=True).clamp_min(1e-12)
    share = smooth / smooth.sum(1, keepdim=True).clamp_min(1e-12)
    return -torch.log(share.clamp_min(math.exp(-_UNLIKELY))).float()


def formula_costs(species: Tensor, num_atoms: Tensor, num_species: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `Agreement` knows of formulas, from a training set of elements [n, N] below `num_species` and sizes [n]: its
    `formulas`, `formula_costs`, `part_costs` and `unknown_costs`, on the CPU.

    Parts of one formula with equally many atoms are one part: nobody can tell A from B in ABX3.
    """
    most = species.shape[1]
    held, kinds, present = _most_atoms(species, num_atoms, num_species)
    few = held[:, MOST_PARTS] == 0
    sizes, parts, kinds = num_atoms.cpu(), held[few, :MOST_PARTS], kinds[few, :MOST_PARTS]

    formulas, number = _most_frequent(parts)
    known = number >= 0
    by_elements = torch.bincount((parts > 0).sum(1) - 1, minlength=MOST_ELEMENTS).double()
    unknown = torch.bincount((parts[~known] > 0).sum(1) - 1, minlength=MOST_ELEMENTS).double()
    of_size, parts, kinds, number = sizes[few][known], parts[known], kinds[known], number[known]

    columns = len(formulas)
    by_size = torch.bincount(of_size * columns + number, minlength=(most + 1) * columns).view(most + 1, -1).double()
    whole = formulas.sum(1)
    possible = (torch.arange(most + 1)[:, None] % whole.clamp_min(1) == 0) & (whole > 0)
    anywhere = by_size.sum(0) * possible
    borrowed = SMOOTHING * anywhere / anywhere.sum(1, keepdim=True).clamp_min(1e-12)
    share = (by_size + borrowed) / (torch.bincount(sizes, minlength=most + 1)[:, None] + SMOOTHING)
    costs = -torch.log(share.clamp_min(math.exp(-_UNLIKELY)))

    first = (formulas[:, :, None] == formulas[:, None]).int().argmax(2)  # the first part with as many atoms
    places = (number[:, None] * MOST_PARTS + first[number]) * num_species + kinds
    played = torch.bincount(places[parts > 0], minlength=columns * MOST_PARTS * num_species).double()
    played = played.view(columns, MOST_PARTS, num_species).gather(1, first[..., None].expand(-1, -1, num_species))
    usual = (present / present.sum()).clamp_min(1e-12)
    odds = (played / usual + PART_SMOOTHING) / (played.sum(2, keepdim=True) + PART_SMOOTHING)
    return (
        formulas.view(MOST_PARTS, FORMULAS, MOST_PARTS),
        costs.view(most + 1, MOST_PARTS, FORMULAS).float(),
        -odds.log().view(MOST_PARTS, FORMULAS, MOST_PARTS, num_species).float(),
        -torch.log((unknown + 1) / (by_elements + 1)).float(),
    )


def _most_atoms(species: Tensor, num_atoms: Tensor, num_species: int) -> tuple[Tensor, Tensor, Tensor]:
    """The atoms of the MOST_PARTS + 1 elements that crystals have most atoms of [n, MOST_PARTS + 1], the largest first,
    0 where there is none; which elements these are; and how many crystals have each element [K]; on the CPU."""
    present, held, kinds = torch.zeros(num_species, dtype=torch.float64), [], []
    for some, sizes in zip(species.split(2**16), num_atoms.split(2**16), strict=True):
        atoms = torch.arange(some.shape[1], device=some.device) < sizes[:, None]
        counts = torch.zeros(len(some), max(num_species, MOST_PARTS + 1), dtype=torch.int64, device=some.device)
        counts.scatter_add_(1, some.long(), atoms.long())
        present += (counts > 0).sum(0)[:num_species].cpu()
        most = counts.sort(dim=1, descending=True, stable=True)
        held.append(most.values[:, : MOST_PARTS + 1].cpu())
        kinds.append(most.indices[:, : MOST_PARTS + 1].cpu())
    return torch.cat(held), torch.cat(kinds), present


def _most_frequent(parts: Tensor) -> tuple[Tensor, Tensor]:
    """The FORMULAS most frequent anonymised formulas of each number of elements [MOST_PARTS FORMULAS, MOST_PARTS], and
    which of them each crystal has [n], -1 for others; of atoms by element `parts` [n, MOST_PARTS], largest first."""
    divisor = parts[:, 0]
    for j in range(1, MOST_PARTS):
        divisor = torch.gcd(divisor, parts[:, j])
    found, which, frequency = torch.unique(parts // divisor[:, None], dim=0, return_inverse=True, return_counts=True)
    elements = (found > 0).sum(1)
    formulas, places = parts.new_zeros(MOST_PARTS * FORMULAS, MOST_PARTS), torch.full((len(found),), -1)
    for k in range(1, MOST_PARTS + 1):
        those = (elements == k).nonzero()[:, 0]
        those = those[frequency[those].argsort(descending=True, stable=True)][:FORMULAS]
        places[those] = FORMULAS * (k - 1) + torch.arange(len(those))
    formulas[places[places >= 0]] = found[places >= 0]
    return formulas, places[which]


def ways(size: Tensor, most: int) -> Tensor:
    """Log of the ways to count atoms of 1 ... `most` elements, each at least once, in crystals of `size` [B] atoms:
    log C(n - 1, k - 1), [B, most]; where there are fewer atoms than elements, what one atom an element has."""
    k = torch.arange(1, most + 1, device=size.device)
    rest = (size[:, None] - k).clamp_min(0)
    return (torch.lgamma(rest + k.double()) - torch.lgamma(k.double()) - torch.lgamma(rest + 1.0)).float()


def found_elements(against: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Elements of crystals one at a time [B, S], each the one that saves most, and the votes against the atoms' best of
    those so far, summed [B, S]; of votes `against` [B, N, K], 0 for padding. S is at most MOST_ELEMENTS."""
    least = _UNLIKELY * mask.to(against.dtype)  # [B, N], the vote against the best element so far
    order: list[Tensor] = []
    totals: list[Tensor] = []
    for _ in range(min(*against.shape[1:], MOST_ELEMENTS)):
        saved = (least[..., None] - against).clamp_min(0).sum(1)  # [B, K]
        if order:
            saved = saved.scatter(1, torch.stack(order, 1), -1.0)  # an element is found once
        order.append(saved.argmax(-1))
        least = torch.minimum(least, against.gather(2, order[-1][:, None, None].expand(-1, mask.shape[1], 1))[..., 0])
        totals.append(least.sum(1))
    return torch.stack(order, 1), torch.stack(totals, 1)


def counted(votes: Tensor, mask: Tensor) -> list[Tensor]:
    """The least sum of votes for every way to count: after 0 ... N atoms, [B, N + 1, ..., N + 1] with an axis for every
    element but the first, whose atoms are all others; of votes against `votes` [B, N, parts]. inf: cannot be.

    O(parts N^parts) additions.
    """
    batch, most, parts = votes.shape
    table = votes.new_full((batch, *[most + 1] * (parts - 1)), torch.inf)
    table.view(batch, -1)[:, 0] = 0
    tables = [table]
    for i in range(most):
        vote = votes[:, i].view(batch, parts, *[1] * (parts - 1))
        after = table + vote[:, 0]
        for j in range(1, parts):
            gains = after.narrow(j, 1, most)
            torch.minimum(gains, table.narrow(j, 0, most) + vote[:, j], out=gains)
        table = torch.where(mask[:, i].view(batch, *[1] * (parts - 1)), after, table)
        tables.append(table)
    return tables


def dealt_out(tables: list[Tensor], votes: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """Which element [B, N] (a number below `parts`) every atom is dealt so that the elements have `counts` [B, parts]
    and the votes against are the least that `counted` found, from the last atom back."""
    batch, most, parts = votes.shape
    left, dealt, digits = counts.clone(), torch.zeros_like(mask, dtype=torch.int64), _digits(tables[0])
    for i in reversed(range(most)):
        at = (left * digits).sum(1, keepdim=True) - digits  # [B, parts], the states before this atom
        total = tables[i].reshape(batch, -1).gather(1, at.clamp_min(0)) + votes[:, i]
        dealt[:, i] = total.masked_fill(left < 1, torch.inf).argmin(1)
        left = left - nn.functional.one_hot(dealt[:, i], parts) * mask[:, i, None]
    return dealt


def _digits(table: Tensor) -> Tensor:
    """How far apart counts that differ by one atom are in a flat table of `counted` [parts]; 0 for the first."""
    return torch.tensor([0, *table[0].stride()], device=table.device)
