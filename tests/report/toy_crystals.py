"""Crystals that the tests of the page and the gallery share."""

import numpy as np
from pymatgen.core import Lattice, Structure

CUBE = Lattice.cubic
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def rock_salt():
    return Structure(CUBE(5.64), ["Na"] * 4 + ["Cl"] * 4, [*FCC, *(FCC + 0.5)])


def strontium_titanate():
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(CUBE(3.905), ["Sr", "Ti", "O", "O", "O"], sites)
