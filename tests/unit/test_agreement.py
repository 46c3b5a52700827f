"""Elements by agreement: exact costs, sets found by hand and by brute force, symmetries."""

import itertools
import math

import pytest
import torch

from graphgan.agreement import MOST_ELEMENTS, SMOOTHING, agree, element_costs
from graphgan.latents import Latents
from graphgan.networks import Decoder


def logits_of(rows):
    """Logits [1, N, K] of probabilities by atom."""
    return torch.log(torch.tensor([rows]))


def elements_of(logits, mask=None):
    kinds = logits.argmax(-1)
    mask = torch.ones(kinds.shape, dtype=torch.bool) if mask is None else mask
    return [set(row[atoms].tolist()) for row, atoms in zip(kinds, mask, strict=True)]


FREE = torch.zeros(1, MOST_ELEMENTS)


def test_costs_are_the_frequencies_of_the_training_set():
    """Three crystals of 2 atoms, of 1, 2 and 2 elements, and one of 3 atoms and 3 elements."""
    species = torch.tensor([[4, 4, 0], [4, 1, 4], [0, 1, 9], [0, 1, 2]], dtype=torch.uint8)
    costs = element_costs(species, torch.tensor([2, 2, 2, 3]))
    assert costs.shape == (4, MOST_ELEMENTS)
    # Of all crystals 1, 2, 1 have 1, 2, 3 elements; with 2 atoms only the first two are possible.
    borrowed = SMOOTHING * torch.tensor([1.001, 2.001]).double() / 3.002
    expected = (torch.tensor([1.0, 2.0]).double() + borrowed) / (3 + SMOOTHING)
    assert costs[2, :2].tolist() == pytest.approx((-expected.log()).tolist(), rel=1e-4)
    assert costs[2, 2].item() == costs[1, 1].item() == pytest.approx(50)
    assert costs[1, 0].item() == pytest.approx(0, abs=1e-6)  # one atom, one element
    assert costs[3, 2].item() == pytest.approx(-math.log((1 + SMOOTHING * 1.001 / 4.003) / (1 + SMOOTHING)), rel=1e-4)


def test_few_elements_win_over_many_likely_ones():
    """Two atoms are sure of 0 and 1, the third is nearly undecided between 1 and 2: alone it says 2."""
    rows = [[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.02, 0.48, 0.5]]
    logits, mask = logits_of(rows), torch.ones(1, 3, dtype=torch.bool)
    assert elements_of(logits) == [{0, 1, 2}]
    costs = FREE.clone()
    assert elements_of(agree(logits, mask, costs)) == [{0, 1, 2}]
    costs[0, 2] = math.log(0.5 / 0.48) + 1e-3  # a third element costs a little more than it saves
    assert agree(logits, mask, costs).argmax(-1).tolist() == [[0, 1, 1]]
    costs[0, 2] -= 2e-3
    assert elements_of(agree(logits, mask, costs)) == [{0, 1, 2}]


def test_a_number_of_elements_can_be_forced():
    torch.manual_seed(0)
    logits, mask = torch.randn(20, 7, 6), torch.ones(20, 7, dtype=torch.bool)
    for count in (1, 2, 4):
        costs = torch.full((20, MOST_ELEMENTS), 1e3)
        costs[:, count - 1] = 0
        found = [len(elements) for elements in elements_of(agree(logits, mask, costs))]
        assert max(found) == count and sum(found) > 20 * (count - 0.5)


def test_sets_are_nearly_the_best_of_all_sets():
    torch.manual_seed(1)
    logits, mask = 2 * torch.randn(30, 5, 5), torch.ones(30, 5, dtype=torch.bool)
    costs = torch.tensor([[0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]]).expand(30, -1)
    against = -logits.log_softmax(-1)
    found = agree(logits, mask, costs) > -1e3
    gaps = []
    for b in range(30):

        def total(chosen, b=b):
            return float(against[b][:, list(chosen)].min(1).values.sum() + costs[b, len(chosen) - 1])

        sets = [c for k in range(1, 6) for c in itertools.combinations(range(5), k)]
        gaps.append(total(found[b, 0].nonzero()[:, 0].tolist()) - min(map(total, sets)))
    assert min(gaps) >= -1e-4
    assert sum(gap < 1e-4 for gap in gaps) >= 24 and max(gaps) < 2


def test_agreement_knows_no_order_and_no_padding():
    torch.manual_seed(2)
    logits, num_atoms = torch.randn(4, 6, 5), torch.tensor([6, 3, 1, 4])
    mask = torch.arange(6) < num_atoms[:, None]
    costs = torch.tensor([[0.0, 0.5, 2.0, 4.0, 6.0, 9.0, 9.0, 9.0]]).expand(4, -1)
    found = agree(logits, mask, costs)
    order = torch.tensor([2, 1, 0, 3, 4, 5])
    moved = agree(logits[:1, order], mask[:1], costs[:1])
    torch.testing.assert_close(moved, found[:1, order])
    alone = agree(logits[1:2, :3], mask[1:2, :3], costs[1:2])
    torch.testing.assert_close(alone, found[1:2, :3])
    noise = torch.where(mask[..., None], logits, 99.0 * torch.randn(4, 6, 5))
    torch.testing.assert_close((agree(noise, mask, costs) > -1e3)[:, 0], (found > -1e3)[:, 0])


def test_a_decoder_agrees_and_one_that_does_not_has_no_buffer():
    torch.manual_seed(3)
    latents = Latents(values=5 * torch.randn(50, 6, 8), num_atoms=torch.full((50,), 6))
    decoder = Decoder(9, hidden=16, layers=1, agreement=5.0, max_atoms=6)
    free = Decoder(9, hidden=16, layers=1)
    assert "element_costs" not in free.state_dict()
    with torch.no_grad():
        decoder.species.weight *= 30
    free.load_state_dict({k: v for k, v in decoder.state_dict().items() if k != "element_costs"})
    decoder.set_elements(torch.tensor([[0, 1, 0, 1, 0, 1]] * 40, dtype=torch.uint8), torch.full((40,), 6))
    counts = [sum(map(len, elements_of(d(latents).species))) / 50 for d in (free, decoder)]
    assert counts[0] > 2.5 and counts[1] <= 2.1
    torch.testing.assert_close(decoder(latents).species.sum(-1), torch.ones(50, 6))
