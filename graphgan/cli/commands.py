"""The commands and their flags, as dataclasses; what they do is imported when they run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal, Protocol

import tyro

from graphgan.config import Config, ImageConfig, MoleculeConfig, RunConfig
from graphgan.config.images import CrystensOptions, ImageOptions, Xtal2pngOptions
from graphgan.errors import UserError


class CommandError(UserError):
    """A command line that cannot be carried out."""


class Command(Protocol):
    """A parsed command line."""

    def run(self) -> int:
        """Do it; returns the exit code."""
        ...


Seed = Annotated[int, tyro.conf.arg(help="Of the random numbers.")]
Device = Literal["auto", "cpu", "cuda"]


@dataclasses.dataclass(frozen=True)
class Training:
    """What training takes, whatever it trains."""

    data: tyro.conf.Positional[str]
    """Name of a data set, or a CIF or POSCAR file, a folder of them, .zip, .csv, .json, .extxyz, .db, or what
    `graphgan encode` wrote; or molecules: qm9, .smi, .sdf, or .csv with a column smiles."""
    out: Path
    """Run folder to make."""
    config: Path | None = None
    """YAML file of options; flags win over it."""
    recipe: str | None = None
    """Options that come with graphgan, by name; flags win over them."""
    split: str | None = None
    """Part of DATA to train on, where it has parts; a named set trains on its part train."""
    validation: str | None = None
    """Crystals kept out of training for reconstruction and for choosing best.pt; otherwise 5 % of DATA, at most 500."""
    resume: bool = False
    """Go on from the last checkpoint of the run folder, with the options saved there."""
    quiet: bool = False
    """Say nothing but errors."""

    @property
    def settings(self) -> RunConfig:
        """The options of the run."""
        return self.options  # type: ignore[attr-defined]

    def run(self) -> int:
        from graphgan.cli.prepare import train

        return train(self)


@dataclasses.dataclass(frozen=True)
class Train(Training):
    """Learn to make crystals like those in DATA. Ctrl-C saves and stops; --resume goes on.

    These are the options of graph tensors. `graphgan train --encoding crystens --help` shows those of images,
    `graphgan train qm9 --help` those of molecules.
    """

    encoding: Literal["graph", "crystens", "xtal2png", "molecules"] = "graph"
    """What networks see: graph tensors, the images of CrysTens or xtal2png, or molecular graphs, which is what DATA of
    molecules stands for."""
    options: Annotated[Config, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Config)


@dataclasses.dataclass(frozen=True)
class TrainImages(Training):
    """Learn to make images of crystals, for comparison with graph tensors. Ctrl-C saves and stops; --resume goes on."""

    options: Annotated[ImageConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=ImageConfig)


@dataclasses.dataclass(frozen=True)
class TrainMolecules(Training):
    """Learn to make molecules like those in DATA. Ctrl-C saves and stops; --resume goes on."""

    options: Annotated[MoleculeConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=MoleculeConfig)


@dataclasses.dataclass(frozen=True)
class KeepOptions:
    """What a crystal has to meet to be kept; all that is left unset asks for nothing."""

    min_distance: float | None = None
    """Å from any atom to the nearest."""
    max_residual: float | None = None
    """Consistency residual at most: how far the atoms were from agreeing where they are, as a fraction of the cell."""
    neutral: bool = False
    """Charges can balance, as compositional validity has it."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Make crystals or molecules with a trained model: your own, or one that comes with graphgan."""

    model: tyro.conf.Positional[str]
    """Run folder, checkpoint, file of `graphgan export`, or a name that `graphgan models` lists."""
    out: Path
    """Folder for CIFs, or a file .zip, .extxyz, .csv or .json; of molecules .smi, .csv, .sdf, or a picture of the first
    100, .svg or .png."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1000
    """How many."""
    seed: Seed = 0
    shard: str | None = None
    """I/K makes slice I of K of the -n crystals, numbered as in the whole; the K slices make up the whole."""
    num_atoms: int | None = None
    """Atoms a cell; otherwise drawn from the training distribution."""
    symmetrize: float | None = None
    """Move atoms and cell onto the symmetry found within this many Å."""
    keep: KeepOptions = dataclasses.field(default_factory=KeepOptions)
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16 lets the networks compute with 8 bits of precision. For GPUs."""
    compile: bool = False
    """Compile the networks first, which takes a minute and pays for very many crystals on a GPU."""
    overwrite: bool = False
    """Replace OUT if it exists."""

    def run(self) -> int:
        from graphgan.cli.actions import sample

        return sample(self)


@dataclasses.dataclass(frozen=True)
class Export:
    """Write what sampling needs of a run, and no more, to one small file."""

    model: tyro.conf.Positional[str]
    """Run folder or checkpoint."""
    out: Path
    """A file .pt; `graphgan sample` takes it."""
    overwrite: bool = False
    """Replace OUT if it exists."""

    def run(self) -> int:
        from graphgan.cli.actions import export

        return export(self)


@dataclasses.dataclass(frozen=True)
class Models:
    """List the models that come with graphgan, or show the card of one."""

    name: tyro.conf.Positional[str | None] = None
    """Of a model."""

    def run(self) -> int:
        from graphgan.cli.actions import models

        return models(self)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Judge crystals or molecules, ours or anybody's: metrics.json, a CSV with a row a sample, report.html."""

    samples: tyro.conf.Positional[str]
    """What to judge: any form of DATA, or molecules as .smi, .sdf or .csv. Unreadable entries count as failures. With
    -n, a model of crystals, as `graphgan sample` takes it."""
    out: Path
    """Folder of the results."""
    reference: str | None = None
    """Real crystals for distributions: any form of DATA. Of a named set its part val, or the whole where it has none,
    unless --reference-split names another."""
    reference_split: str | None = None
    """Part of the reference, where it has parts."""
    train: str | None = None
    """Training crystals for novelty: any form of DATA. Of a named set its part train, or the whole where it has none,
    unless --train-split names another."""
    train_split: str | None = None
    """Part of the training crystals, where they have parts."""
    benchmark: Literal["auto", "none", "perov_5", "carbon_24", "mp_20"] = "auto"
    """Sets the cut-offs of coverage and puts published rows beside ours; auto reads it off the name of the
    reference."""
    coverage: bool = True
    """Fingerprint every crystal for coverage: milliseconds each, kept in the cache folder."""
    genmetrics: bool = False
    """Add the four metrics of matbench-genmetrics, which need fingerprints of the training crystals too."""
    stability: Literal["none", "chgnet", "sevennet"] = "none"
    """Relax the samples and the training crystals with this potential and add energies above the hull of the training
    set: seconds a crystal, kept in OUT/stability and in the cache folder. An interrupted run goes on where it was."""
    table: Literal["smact-2.2.1", "smact-4.0.2-icsd24"] = "smact-2.2.1"
    """Oxidation states of compositional validity; published numbers have those of smact-2.2.1."""
    tolerances: Literal["cdvae", "mattergen"] = "cdvae"
    """Of StructureMatcher, for the headline uniqueness and novelty."""
    rewards: tuple[str, ...] = ("qed", "logp", "sa")
    """Of molecules, for their means: qed, logp, sa, validity, uniqueness, novelty, or package.module:function."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Draw this many crystals from a model and judge them."""
    keep: KeepOptions = dataclasses.field(default_factory=KeepOptions)
    log: Path | None = None
    """Run folder whose loss curves go into the report."""
    seed: Seed = 0
    device: Device = "auto"
    """Of the potential, and of a model to draw from; auto takes a GPU where there is one."""

    def run(self) -> int:
        from graphgan.cli.evaluate import evaluate

        return evaluate(self)


@dataclasses.dataclass(frozen=True)
class Encode:
    """Turn structures into tensors."""

    data: tyro.conf.Positional[str]
    """Any form of DATA."""
    out: Path
    """A folder, for graph tensors of DATA of any size: crystals are read, encoded and written one by one, and `graphgan
    train` leaves them on disk, memory-mapped. Or an .npz file. Training on either needs no pymatgen. For xtal2png, a
    folder is one of PNG files. What was left out is listed in OUT/skipped.csv, or beside the file in
    NAME.skipped.csv."""
    encoding: Literal["graph", "crystens", "xtal2png"] = "graph"
    """Graph tensors, or the images of CrysTens or xtal2png."""
    split: str | None = None
    """Part of DATA, where it has parts."""
    max_atoms: int = 20
    """Graph tensors leave out crystals with more atoms in the primitive cell."""
    image: ImageOptions = dataclasses.field(default_factory=ImageOptions)
    crystens: CrystensOptions = dataclasses.field(default_factory=CrystensOptions)
    xtal2png: Xtal2pngOptions = dataclasses.field(default_factory=Xtal2pngOptions)
    overwrite: bool = False
    """Replace OUT if it exists."""

    def run(self) -> int:
        from graphgan.cli.tensors import encode

        return encode(self)


@dataclasses.dataclass(frozen=True)
class Decode:
    """Turn tensors back into structures."""

    data: tyro.conf.Positional[Path]
    """What `graphgan encode` wrote, or a folder of PNG files of xtal2png, or one such file."""
    out: Path
    """Folder for CIFs, or a file .zip, .extxyz, .csv or .json."""
    overwrite: bool = False
    """Replace OUT if it exists."""

    def run(self) -> int:
        from graphgan.cli.tensors import decode

        return decode(self)


@dataclasses.dataclass(frozen=True)
class Datasets:
    """List the data sets, or show the card of one."""

    name: tyro.conf.Positional[str | None] = None
    """Of a data set."""
    clear_cache: bool = False
    """Remove what was parsed before."""

    def run(self) -> int:
        from graphgan.cli.actions import datasets

        return datasets(self)


@dataclasses.dataclass(frozen=True)
class Demo:
    """The whole path in a few minutes: embedded data, training, crystals, evaluation, report.html."""

    out: Path = Path("graphgan-demo")
    """Folder of everything it makes."""
    minutes: float = 3.0
    """Of training."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 100
    """Crystals to sample."""
    seed: Seed = 0
    device: Device = "auto"
    """auto takes a GPU where there is one."""

    def run(self) -> int:
        from graphgan.cli.demo import demo

        return demo(self)
