"""The formula by agreement: exact costs, formulas found by hand and by brute force, symmetries."""

import itertools
import math

import pytest
import torch

from graphgan.agreement import (
    FORMULAS,
    MOST_ELEMENTS,
    PART_SMOOTHING,
    SMOOTHING,
    Agreement,
    counted,
    dealt_out,
    element_costs,
    formula_costs,
    found_elements,
    ways,
)
from graphgan.latents import Latents
from graphgan.networks import Decoder


def logits_of(rows):
    """Logits [1, N, K] of probabilities by atom."""
    return torch.log(torch.tensor([rows]))


def atoms_of(num_atoms, most):
    return torch.arange(most) < torch.tensor(num_atoms)[:, None]


def trained(crystals, num_species, weight=1.0):
    """What agrees as crystals of these elements do."""
    most = max(map(len, crystals))
    species = torch.tensor([c + [0] * (most - len(c)) for c in crystals], dtype=torch.uint8)
    agreement = Agreement(num_species, most, weight)
    agreement.learn(species, torch.tensor([len(c) for c in crystals]))
    return agreement


def test_costs_of_elements_are_the_frequencies_of_the_training_set():
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


# Two A2B, one AB, one AB of four atoms, and one of five elements, which no known formula has.
FEW = [[0, 0, 1], [1, 2, 2], [0, 1], [0, 0, 1, 1], [0, 1, 2, 3, 4]]


def learned():
    most = 5
    species = torch.tensor([c + [9] * (most - len(c)) for c in FEW], dtype=torch.uint8)
    return formula_costs(species, torch.tensor([len(c) for c in FEW]), 10)


def test_formulas_are_counted_without_their_common_divisor():
    formulas, costs, _, unknown = learned()
    assert formulas.shape == (4, FORMULAS, 4) and costs.shape == (6, 4, FORMULAS)
    assert formulas.sum() == 5  # AB and A2B, nothing else
    assert sorted(formulas[1, :2].tolist()) == [[1, 1, 0, 0], [2, 1, 0, 0]]
    # Of four with two elements all are known, and one is added to both; of five elements no formula is known at all.
    assert unknown.tolist() == pytest.approx([0, -math.log(1 / 5), 0, 0, 0, 0, 0, 0])


def test_costs_of_formulas_are_their_frequencies_at_each_size():
    formulas, costs, _, _ = learned()
    binary = [formulas[1, i].tolist() for i in range(2)]
    one_one, two_one = costs[:, 1, binary.index([1, 1, 0, 0])], costs[:, 1, binary.index([2, 1, 0, 0])]
    # Three atoms can only be A2B, four only AB: nothing is borrowed from elsewhere.
    assert two_one[3].item() == pytest.approx(0, abs=1e-6) and one_one[4].item() == pytest.approx(0, abs=1e-6)
    assert one_one[3].item() == two_one[4].item() == pytest.approx(50)
    # Five atoms: one crystal, of a formula that is not known; A2B and AB do not fit.
    assert one_one[5].item() == two_one[5].item() == pytest.approx(50)
    assert (costs[:, [0, 2, 3]] == 50).all()


def test_costs_of_parts_are_odds_against_how_common_an_element_is():
    formulas, _, parts, _ = learned()
    binary = [formulas[1, i].tolist() for i in range(2)]
    two_one = parts[1, binary.index([2, 1, 0, 0])]
    present = torch.tensor([4.0, 5, 2, 1, 1])  # crystals with each element
    usual = present / present.sum()

    def cost(played, of, element):
        return pytest.approx(-math.log((played / usual[element] + PART_SMOOTHING) / (of + PART_SMOOTHING)), rel=1e-5)

    # A is 0 and 2, once each; B is 1, twice.
    assert two_one[0, 0].item() == cost(1, 2, 0)
    assert two_one[1, 1].item() == cost(2, 2, 1)
    assert two_one[1, 0].item() == cost(0, 2, 0)
    # In AB the two parts are one: 0 and 1 play it twice each.
    one_one = parts[1, binary.index([1, 1, 0, 0])]
    torch.testing.assert_close(one_one[0], one_one[1])
    assert one_one[0, 1].item() == cost(2, 4, 1)


def test_only_the_most_frequent_formulas_are_known():
    """AB3 of every count up to 70: the rarest are unknown, and so much dearer."""
    crystals = [[0] * n + [1] for n in range(1, 71)] + [[0] * 70 + [1]] * 2
    formulas, _, _, unknown = formula_costs(
        torch.tensor([c + [0] * (71 - len(c)) for c in crystals]), torch.tensor([len(c) for c in crystals]), 5
    )
    assert (formulas[1, :, 0] > 0).all() and [70, 1, 0, 0] in formulas[1].tolist()
    assert unknown[1].item() == pytest.approx(-math.log((70 - FORMULAS + 1) / 73))


def test_ways_to_count_by_hand():
    """Five atoms of 1, 2, 3 elements: 1, 4 (1 + 4, 2 + 3 and back) and 6 ways; of one atom, one."""
    assert ways(torch.tensor([5, 1]), 3).exp().tolist() == [pytest.approx([1, 4, 6]), pytest.approx([1, 1, 1])]


def test_elements_are_found_by_what_they_save():
    against = -logits_of([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    elements, sums = found_elements(against, torch.ones(1, 3, dtype=torch.bool))
    assert elements.tolist() == [[0, 2, 1]]
    best = [0.7 * 0.6 * 0.1, 0.7 * 0.6 * 0.8, 0.7 * 0.6 * 0.8]
    assert sums[0].tolist() == pytest.approx([-math.log(p) for p in best], rel=1e-5)


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_counting_finds_the_least_sum_of_every_way_to_deal(parts):
    torch.manual_seed(parts)
    num_atoms, most = [5, 3], 5
    votes, mask = torch.rand(2, most, parts), atoms_of(num_atoms, most)
    tables = counted(votes * mask[..., None], mask)
    assert len(tables) == most + 1 and tables[-1].shape == (2, *[most + 1] * (parts - 1))
    for b, size in enumerate(num_atoms):
        least = {}
        for deal in itertools.product(range(parts), repeat=size):
            counts = tuple(deal.count(j) for j in range(parts))
            total = sum(votes[b, i, j].item() for i, j in enumerate(deal))
            least[counts] = min(total, least.get(counts, math.inf))
        for counts, total in least.items():
            assert tables[-1][(b, *counts[1:])].item() == pytest.approx(total, rel=1e-5)
            wanted = torch.tensor(counts).expand(2, -1)
            dealt = dealt_out(tables, votes * mask[..., None], mask, wanted)[b, :size]
            assert torch.bincount(dealt, minlength=parts).tolist() == list(counts)
            assert votes[b, range(size), dealt].sum().item() == pytest.approx(total, rel=1e-5)
        impossible = torch.isinf(tables[-1][b]).sum().item()
        assert impossible == (most + 1) ** (parts - 1) - len(least)


def test_a_formula_that_is_usual_wins_over_an_atom_in_doubt():
    """All crystals are ABX3; an atom that is nearly undecided between A and X becomes X, though A is likelier."""
    agreement = trained([[0, 1, 2, 2, 2]] * 30 + [[0, 0, 1, 2, 2]], 3)
    rows = [[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98], [0.01, 0.01, 0.98], [0.51, 0.01, 0.48]]
    logits, mask = logits_of(rows), torch.ones(1, 5, dtype=torch.bool)
    assert logits.argmax(-1).tolist() == [[0, 1, 2, 2, 0]]
    assert agreement(logits, mask).argmax(-1).tolist() == [[0, 1, 2, 2, 2]]
    agreement.weight = 1e-3  # the training set hardly counts
    assert agreement(logits, mask).argmax(-1).tolist() == [[0, 1, 2, 2, 0]]


def test_elements_play_the_parts_they_play_in_the_training_set():
    """In A2B, 0 has always been A and 1 always B: three atoms in doubt are dealt so, not the other way round."""
    agreement = trained([[0, 0, 1]] * 40 + [[2, 2, 3]] * 40, 4, weight=2.0)
    doubt = [[0.5, 0.5, 1e-9, 1e-9]] * 3
    assert sorted(agreement(logits_of(doubt), torch.ones(1, 3, dtype=torch.bool)).argmax(-1)[0].tolist()) == [0, 0, 1]
    other = trained([[1, 1, 0]] * 40 + [[2, 2, 3]] * 40, 4, weight=2.0)
    assert sorted(other(logits_of(doubt), torch.ones(1, 3, dtype=torch.bool)).argmax(-1)[0].tolist()) == [0, 1, 1]


def test_a_formula_nobody_has_seen_is_possible():
    """Sure atoms are not overruled: 2 + 3 atoms among crystals that are all 1 + 1 or 1 + 3."""
    agreement = trained([[0, 1]] * 20 + [[0, 1, 1, 1]] * 20 + [[0, 0, 0, 1, 1, 2, 3, 4, 4]], 5)
    rows = torch.full((5, 5), 1e-9)
    for atom, element in enumerate([0, 0, 1, 1, 1]):
        rows[atom, element] = 1
    found = agreement(torch.log(rows)[None], torch.ones(1, 5, dtype=torch.bool))
    assert found.argmax(-1).tolist() == [[0, 0, 1, 1, 1]]


def readings(agreement, size, parts):
    """Known formulas for so many atoms and elements: their number, and the atoms of every part."""
    formulas = agreement.formulas[parts - 1, :, :parts].tolist()
    whole = [(f, sum(formula)) for f, formula in enumerate(formulas)]
    return [(f, [c * size // n for c in formulas[f]]) for f, n in whole if n and size % n == 0]


def orders_of(counts):
    """Log of the distinct orders of counts."""
    return math.log(len(set(itertools.permutations(counts))))


def free_cost(agreement, size, elements):
    """What any formula of so many elements costs."""
    costs = agreement.element_costs[size, elements - 1] + agreement.unknown_costs[elements - 1]
    return costs.item() + math.log(math.comb(size - 1, elements - 1))


def brute_force(agreement, against, size):
    """The least cost over the elements found, every deal of them, and every known formula it may have."""
    found, sums = found_elements(against[None], torch.ones(1, size, dtype=torch.bool))
    free = torch.tensor([free_cost(agreement, size, k) for k in range(1, sums.shape[1] + 1)])
    best = (sums[0] + agreement.weight * free).min().item()
    for parts in range(1, min(size, 4) + 1):
        elements, known = found[0, :parts].tolist(), readings(agreement, size, parts)
        votes = against[:, elements].tolist()
        costs = agreement.formula_costs[size, parts - 1].tolist()
        odds = agreement.part_costs[parts - 1, :, :parts][..., elements].tolist()
        for deal in itertools.product(range(parts), repeat=size):
            total = sum(votes[i][j] for i, j in enumerate(deal))
            for order in itertools.permutations(range(parts)):
                counts = [deal.count(j) for j in order]  # part p is played by element order[p]
                for f, wanted in known:
                    if counts == wanted:
                        prior = costs[f] + orders_of(wanted) + sum(odds[f][part][j] for part, j in enumerate(order))
                        best = min(best, total + agreement.weight * prior)
    return best


def test_the_formula_is_the_best_of_all():
    torch.manual_seed(4)
    crystals = [torch.randint(4, (int(n),)).tolist() for n in torch.randint(2, 7, (60,))]
    agreement = trained(crystals, 5, weight=1.5)
    for size in (3, 5, 6):
        logits = 1.5 * torch.randn(3, size, 5)
        dealt, formula = agreement.deal(logits, torch.ones(3, size, dtype=torch.bool))
        for b in range(3):
            against = -logits[b].log_softmax(-1)
            least = brute_force(agreement, against, size)
            assert set(dealt[b].tolist()) <= set(formula[b].nonzero()[:, 0].tolist())
            assert cost_of(agreement, against, dealt[b].tolist()) == pytest.approx(least, abs=1e-3)


def cost_of(agreement, against, dealt):
    """What a deal costs under the cheapest reading of it."""
    size, kinds = len(dealt), sorted(set(dealt))
    priors = [free_cost(agreement, size, len(kinds))]
    for order in itertools.permutations(kinds):
        for f, wanted in readings(agreement, size, len(kinds)) if len(kinds) <= 4 else ():
            if [dealt.count(e) for e in order] == wanted:
                odds = sum(agreement.part_costs[len(kinds) - 1, f, p, e].item() for p, e in enumerate(order))
                priors.append(agreement.formula_costs[size, len(kinds) - 1, f].item() + orders_of(wanted) + odds)
    return sum(against[i, e].item() for i, e in enumerate(dealt)) + agreement.weight * min(priors)


def random_agreement(most=6, num_species=5):
    torch.manual_seed(2)
    crystals = [torch.randint(3, (int(n),)).tolist() for n in torch.randint(1, most + 1, (80,))]
    return trained([*crystals, [0, 1] * (most // 2)], num_species, weight=2.0)


def test_agreement_knows_no_order_and_no_padding():
    agreement = random_agreement()
    logits, mask = torch.randn(4, 6, 5), atoms_of([6, 3, 1, 4], 6)
    found = agreement(logits, mask)
    order = torch.tensor([2, 1, 0, 5, 4, 3])
    torch.testing.assert_close(agreement(logits[:1, order], mask[:1]), found[:1, order])
    torch.testing.assert_close(agreement(logits[1:2, :3], mask[1:2, :3]), found[1:2, :3])
    noise = torch.where(mask[..., None], logits, 99.0 * torch.randn(4, 6, 5))
    torch.testing.assert_close(agreement(noise, mask)[mask], found[mask])


def test_the_element_dealt_wins_and_gradients_pass():
    agreement = random_agreement()
    logits = torch.randn(30, 6, 5, requires_grad=True)
    mask = torch.ones(30, 6, dtype=torch.bool)
    dealt, formula = agreement.deal(logits.detach(), mask)
    found = agreement(logits, mask)
    assert (found.argmax(-1) == dealt).all() and (dealt != logits.argmax(-1)).any()
    top = found.topk(2, -1).values
    assert (top[..., 0] - top[..., 1])[dealt != logits.argmax(-1)].min() >= 1 - 1e-3
    assert (found[~formula[:, None].expand(-1, 6, -1)] == -1e4).all()
    (found.softmax(-1) * torch.randn(5)).sum().backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad != 0).any()


def test_where_there_are_too_many_counts_formulas_of_so_many_elements_are_free():
    """Four elements of up to 60 atoms have 226,981 counts: of four, all formulas cost the same, whatever a batch is
    padded to."""
    torch.manual_seed(5)
    agreement = trained([[0, 1, 2, 3] * 15] * 5 + [[0, 1, 2] * 20] * 5, 5)
    assert agreement.parts == 3 and agreement.unknown_costs[3:].tolist() == [0] * 5
    logits, mask = 3 * torch.randn(2, 60, 5), atoms_of([10, 7], 60)
    found = agreement(logits, mask)
    torch.testing.assert_close(agreement(logits[:, :10], mask[:, :10]), found[:, :10])
    # Ten atoms, each sure of one of four elements, 1 + 2 + 3 + 4 of them: a formula nobody has seen.
    rows = torch.full((10, 5), 1e-9)
    rows[range(10), [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]] = 1
    sure = agreement(torch.log(rows)[None], torch.ones(1, 10, dtype=torch.bool))
    assert sure.argmax(-1).tolist() == [[0, 1, 1, 2, 2, 2, 3, 3, 3, 3]]


def test_large_batches_are_dealt_in_parts(monkeypatch):
    agreement = random_agreement()
    logits, mask = torch.randn(9, 6, 5), atoms_of([6, 3, 1, 4, 6, 5, 2, 6, 6], 6)
    whole = agreement.deal(logits, mask)
    monkeypatch.setattr("graphgan.agreement._NUMBERS", 2 * 7**4)
    for found, expected in zip(agreement.deal(logits, mask), whole, strict=True):
        assert torch.equal(found, expected)


def test_a_decoder_agrees_and_one_that_does_not_has_no_buffers():
    torch.manual_seed(3)
    latents = Latents(values=5 * torch.randn(50, 6, 8), num_atoms=torch.full((50,), 6))
    decoder = Decoder(9, hidden=16, layers=1, agreement=5.0, max_atoms=6)
    free = Decoder(9, hidden=16, layers=1)
    assert not any("agreement" in name for name in free.state_dict())
    with torch.no_grad():
        decoder.species.weight *= 30
    free.load_state_dict({k: v for k, v in decoder.state_dict().items() if "agreement" not in k})
    crystals = torch.tensor([[0, 1, 0, 1, 0, 1]] * 40, dtype=torch.uint8)
    decoder.agreement.learn(crystals, torch.full((40,), 6))
    sets = [[set(row.tolist()) for row in d(latents).species.argmax(-1)] for d in (free, decoder)]
    counts = [sum(map(len, kinds)) / 50 for kinds in sets]
    assert counts[0] > 3 and counts[1] < 2.5
    torch.testing.assert_close(decoder(latents).species.sum(-1), torch.ones(50, 6))
