import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation
from toy_potential import Toy, pairs

from graphgan.stability import Evaluation, Settings, relax, relax_each
from graphgan.stability.relaxation import OUT_OF_MEMORY, evaluate

pytestmark = pytest.mark.filterwarnings("ignore:No Pauling")
TIGHT = Settings(fmax=1e-3, max_steps=1000)


def random_crystal(seed, number=4, edge=5.6):
    """Atoms near an fcc lattice, pushed about and strained."""
    rng = np.random.default_rng(seed)
    lattice = Lattice(np.eye(3) * edge + rng.normal(scale=0.15, size=(3, 3)))
    sites = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])[:number]
    return Structure(lattice, ["Ar", "Ar", "Kr", "Kr"][:number], sites + rng.normal(scale=0.02, size=(number, 3)))


def fcc_minimum(symbol):
    def energy(edge):
        half = edge / 2
        lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
        return pairs(Structure(lattice, [symbol], [[0, 0, 0]])).energy

    return minimize_scalar(energy, bracket=(5.0, 5.4), tol=1e-10)


def test_the_toys_forces_and_stress_are_derivatives():
    crystal, step = random_crystal(0), 1e-5
    answer = pairs(crystal)
    numbers = np.zeros((4, 3))
    strains = np.zeros((3, 3))
    for axis in range(3):
        for atom in range(4):
            ends = []
            for sign in (1, -1):
                moved = crystal.copy()
                moved.translate_sites([atom], np.eye(3)[axis] * step * sign, frac_coords=False, to_unit_cell=False)
                ends.append(pairs(moved).energy)
            numbers[atom, axis] = -(ends[0] - ends[1]) / (2 * step)
        for other in range(3):
            ends = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[axis, other] += sign * step
                ends.append(
                    pairs(Structure(crystal.lattice.matrix @ strain, crystal.species, crystal.frac_coords)).energy
                )
            strains[axis, other] = (ends[0] - ends[1]) / (2 * step) / crystal.volume
    assert answer.forces == pytest.approx(numbers, abs=1e-6)
    assert answer.stress == pytest.approx(strains, abs=1e-8)


def test_the_minimum_is_found():
    best = fcc_minimum("Ar")
    crystal = random_crystal(1)
    argon = Structure(crystal.lattice, ["Ar"] * 4, crystal.frac_coords)
    result = relax(argon, Toy(), TIGHT)
    assert result.converged and not result.reason
    assert result.energy_per_atom == pytest.approx(best.fun, abs=1e-6)
    assert result.structure.volume == pytest.approx(best.x**3, rel=1e-3)
    assert result.volume_change == pytest.approx(result.structure.volume / argon.volume - 1)
    # Atoms end where symmetry puts them: the distance travelled is that of the first disorder.
    moves = argon.frac_coords - np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    moves = (moves - moves.mean(axis=0)) @ result.structure.lattice.matrix
    assert result.displacement == pytest.approx(np.sqrt((moves**2).sum(axis=1).mean()), abs=0.01)


def test_it_ends_below_fmax_and_not_before():
    crystal, toy = random_crystal(2), Toy()
    result = relax(crystal, toy, Settings(fmax=0.02))

    def largest(structure):
        _, forces, stress = pairs(structure)
        return np.linalg.norm(np.concatenate([forces, structure.volume * stress / len(structure)]), axis=1).max()

    assert result.converged and largest(result.structure) < 0.02 < largest(crystal)
    assert toy.calls == {"KrAr": result.steps + 1}
    assert result.energy_per_atom == pytest.approx(pairs(result.structure).energy / 4)


def test_no_steps_means_the_energy_of_the_crystal_as_it_is():
    crystal = random_crystal(3)
    result = relax(crystal, Toy(), Settings(max_steps=0))
    assert (result.steps, result.converged, result.displacement, result.volume_change) == (0, False, 0, 0)
    assert result.energy_per_atom == pytest.approx(pairs(crystal).energy / 4)


def test_symmetries():
    crystal = random_crystal(4)
    turn = Rotation.random(random_state=0).as_matrix()
    order = [2, 0, 3, 1]
    lattice, sites = crystal.lattice.matrix, crystal.frac_coords
    others = [
        Structure(lattice @ turn, crystal.species, sites + np.array([0.3, 0.9, 0.2])),
        Structure(lattice, [crystal.species[i] for i in order], sites[order]),
        Structure(lattice @ -np.eye(3), crystal.species, sites),  # a left-handed cell
        Structure(lattice, crystal.species, sites + np.array([[1, 0, -2], [0, 0, 0], [0, 3, 0], [0, 0, 0]])),
    ]
    first = relax(crystal, Toy(), TIGHT)
    for other in others:
        result = relax(other, Toy(), TIGHT)
        assert result.steps == first.steps
        assert result.energy_per_atom == pytest.approx(first.energy_per_atom, abs=1e-9)
        assert result.displacement == pytest.approx(first.displacement, abs=1e-6)
        assert result.structure.volume == pytest.approx(first.structure.volume, rel=1e-7)


def test_a_batch_gives_what_singles_give():
    crystals = [random_crystal(seed, number) for seed, number in enumerate([4, 2, 3, 4, 1, 4])]
    alone = [relax(crystal, Toy(), Settings(0.02)) for crystal in crystals]
    batched = dict(relax_each(crystals, Toy(), Settings(0.02), batch=4))
    assert sorted(batched) == list(range(6))
    for index, result in enumerate(alone):
        assert batched[index] == result or (
            batched[index].energy_per_atom == result.energy_per_atom and batched[index].steps == result.steps
        )


def explode(structure, call):
    """Not a number from the moment that the cell has shrunk by a tenth."""
    answer = pairs(structure)
    return answer if structure.volume > 0.9 * 4**3 else answer._replace(energy=float("nan"))


def refuse(structure, call):
    raise RuntimeError("isolated atom\nat line 2")


def inflate(structure, call):
    return Evaluation(0.0, np.zeros((len(structure), 3)), -np.eye(3))


def merge(structure, call):
    """Pulls the two atoms together to 0.1 Å and calls that a minimum."""
    gap = (structure.frac_coords[1] - structure.frac_coords[0]) @ structure.lattice.matrix
    length = np.linalg.norm(gap)
    pull = max(length - 0.1, 0) * gap / length
    return Evaluation(float(length), np.array([pull, -pull]), np.zeros((3, 3)))


def test_a_crystal_that_explodes_costs_one_result():
    good = random_crystal(5)
    cube = Lattice.cubic(4)
    two = [[0, 0, 0], [0.5, 0.5, 0.5]]
    bad = {
        "no crystal": None,
        "atoms are 0.20 Å apart": Structure(cube, ["Ar", "Ar"], [[0, 0, 0], [0.05, 0, 0]]),
        "atoms are 0.30 Å apart": Structure(Lattice.orthorhombic(0.3, 20, 20), ["Ar"], [[0, 0, 0]]),
        "the volume is 0.5 Å³ an atom": Structure(Lattice.cubic(1), ["Ar", "Ar"], two),
        "the volume is 4e+03 Å³ an atom": Structure(Lattice.cubic(20), ["Ar", "Ar"], two),
        "cell or positions are not finite": Structure(cube, ["Ar"], [[np.nan, 0, 0]]),
        "sites are shared by several elements": Structure(cube, [{"Ar": 0.5, "Kr": 0.5}], [[0, 0, 0]]),
        "toy does not know Na": Structure(cube, ["Ar", "Na"], two),
        "energy, forces or stress are not finite": Structure(cube, ["Ne"], [[0, 0, 0]]),
        "toy: isolated atom at line 2": Structure(cube, ["Xe"], [[0, 0, 0]]),
        "the volume is 5": Structure(cube, ["Ne", "Xe"], two),
        "atoms are 0.": Structure(cube, ["Ne", "Kr"], [[0, 0, 0], [0.2, 0.2, 0.2]]),
    }
    breaks = {"Ne": explode, "Xe": refuse, "XeNe": inflate, "KrNe": merge}
    crystals = [good, *bad.values(), good]
    found = dict(relax_each(crystals, Toy(breaks), Settings(0.02), batch=20))
    alone = relax(good, Toy(), Settings(0.02))
    for index in (0, len(crystals) - 1):
        assert (found[index].energy_per_atom, found[index].steps) == (alone.energy_per_atom, alone.steps)
        assert not found[index].reason
    for index, reason in enumerate(bad, 1):
        result = found[index]
        assert result.reason.startswith(reason), (reason, result.reason)
        assert (result.structure, result.energy_per_atom, result.converged) == (None, None, False)
    assert found[11].reason.endswith(f"after {found[11].steps} steps") and found[12].reason.endswith("steps")
    assert found[9].steps > 1 and found[11].steps > 1


def test_a_crystal_that_only_drifts_has_not_moved():
    def push(structure, call):
        return Evaluation(0.0, np.ones((len(structure), 3)), np.zeros((3, 3)))

    crystal = random_crystal(6)
    result = relax(crystal, Toy({"KrAr": push}), Settings(max_steps=5))
    assert (result.steps, result.converged) == (5, False)
    assert result.displacement == pytest.approx(0, abs=1e-9)
    assert np.abs(result.structure.frac_coords - crystal.frac_coords).min() > 0.01


def test_a_batch_that_fails_is_halved():
    sizes = []

    def potential(structures):
        sizes.append(len(structures))
        if len(structures) > 3 or any(len(s) == 1 for s in structures):
            raise MemoryError
        return [pairs(s) for s in structures]

    potential.name = "big"
    crystals = [random_crystal(i, 1 if i == 6 else 4) for i in range(8)]
    answers = evaluate(potential, crystals)
    assert answers[6] == OUT_OF_MEMORY
    assert [type(answer) for answer in answers].count(str) == 1
    assert sizes == [8, 4, 2, 2, 4, 2, 2, 1, 1]


@pytest.mark.parametrize(("fmax", "max_steps"), [(0, 10), (float("nan"), 10), (-1, 10), (0.1, -1)])
def test_settings_out_of_range(fmax, max_steps):
    with pytest.raises(ValueError, match="expected"):
        Settings(fmax, max_steps)
