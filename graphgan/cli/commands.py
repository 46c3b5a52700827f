"""The commands and their flags, as dataclasses; what they do is imported when they run."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

import tyro

from graphgan import __version__
from graphgan.config import Config, ImageConfig, RunConfig, load_config, load_recipe
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
    `graphgan encode` wrote."""
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

    These are the options of graph tensors. `graphgan train --encoding crystens --help` shows those of images.
    """

    encoding: Literal["graph", "crystens", "xtal2png"] = "graph"
    """What networks see: graph tensors, or the images of CrysTens or xtal2png."""
    options: Annotated[Config, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Config)


@dataclasses.dataclass(frozen=True)
class TrainImages(Training):
    """Learn to make images of crystals, for comparison with graph tensors. Ctrl-C saves and stops; --resume goes on."""

    options: Annotated[ImageConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=ImageConfig)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Make crystals with a trained model: your own, or one that comes with graphgan."""

    model: tyro.conf.Positional[str]
    """Run folder, checkpoint, file of `graphgan export`, or a name that `graphgan models` lists."""
    out: Path
    """Folder for CIFs, or a file .zip, .extxyz, .csv or .json."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1000
    """How many."""
    seed: Seed = 0
    shard: str | None = None
    """I/K makes slice I of K of the -n crystals, numbered as in the whole; the K slices make up the whole."""
    num_atoms: int | None = None
    """Atoms a cell; otherwise drawn from the training distribution."""
    symmetrize: float | None = None
    """Move atoms and cell onto the symmetry found within this many Å."""
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
    """Judge crystals, ours or anybody's: metrics.json, per_structure.csv and report.html."""

    samples: tyro.conf.Positional[str]
    """Crystals to judge: any form of DATA. Unreadable entries count as failures."""
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
    log: Path | None = None
    """Run folder whose loss curves go into the report."""
    seed: Seed = 0
    device: Device = "auto"
    """Of the potential; auto takes a GPU where there is one."""

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


COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "train": Train,
    "sample": Sample,
    "evaluate": Evaluate,
    "encode": Encode,
    "decode": Decode,
    "datasets": Datasets,
    "models": Models,
    "export": Export,
}


def parse(words: Sequence[str]) -> Command:
    """The command of a command line; SystemExit after help, version or wrong flags; CommandError for a word that is no
    command."""
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        raise SystemExit(0)
    if words[0] == "--version":
        print(f"graphgan {__version__}")
        raise SystemExit(0)
    name, rest = words[0], list(words[1:])
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(COMMANDS)}"
        raise CommandError(f"{name} is no command{hint}")
    program = f"graphgan {name}"
    if name == "train":
        options = _base_config(rest)
        kind = TrainImages if isinstance(options, ImageConfig) else Train
        default = kind(data=tyro.MISSING, out=tyro.MISSING, options=options)  # type: ignore[arg-type]
        return tyro.cli(kind, prog=program, args=rest, default=default)
    return tyro.cli(COMMANDS[name], prog=program, args=rest)


def _base_config(words: list[str]) -> RunConfig:
    """The options that flags start from: of --config, of --recipe, or of the run folder that is resumed; of the right
    kind for --encoding."""
    flags = ("--config", "--recipe", "--out", "--steps", "--minutes", "--encoding")
    given = {flag: _value_of(flag, words) for flag in flags}
    saved = Path(given["--out"] or "") / "config.yaml"
    config: RunConfig | None = None
    if given["--config"] and given["--recipe"]:
        raise CommandError("--config and --recipe are given: take one, and flags for the rest")
    if given["--config"]:
        config = load_config(given["--config"])
    elif given["--recipe"]:
        config = load_recipe(given["--recipe"])
    elif "--resume" in words and given["--out"] and saved.is_file():
        config = load_config(saved)
    images = given["--encoding"] in ("crystens", "xtal2png")
    if config is None:
        return ImageConfig() if images else Config()
    if given["--encoding"] is not None and images != isinstance(config, ImageConfig):
        source = given["--config"] or given["--recipe"] or saved
        raise CommandError(f"--encoding is {given['--encoding']}, but the options of {source} are of another encoding")
    if given["--steps"] is not None and given["--minutes"] is None:
        return dataclasses.replace(config, minutes=None)  # minutes go before steps, and a flag before both
    return config


def _value_of(flag: str, words: list[str]) -> str | None:
    for index, word in enumerate(words):
        if word == flag and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(flag + "="):
            return word.removeprefix(flag + "=")
    return None


def _overview() -> str:
    lines = ["usage: graphgan COMMAND [--flags]", "", "Generate crystals in one network pass.", ""]
    for name, kind in COMMANDS.items():
        lines.append(f"  {name:<10} {(kind.__doc__ or '').splitlines()[0]}")
    lines += ["", "graphgan COMMAND --help tells more; graphgan --version tells the version."]
    return "\n".join(lines)
