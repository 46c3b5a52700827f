"""From the words of a command line to a command: which there are, and which options training starts from."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro

from graphgan import __version__
from graphgan.cli.commands import (
    Command,
    CommandError,
    Datasets,
    Decode,
    Demo,
    Encode,
    Evaluate,
    Export,
    Models,
    Sample,
    Train,
    TrainImages,
    Training,
    TrainMolecules,
)
from graphgan.cli.molecule_commands import Translate
from graphgan.config import Config, ImageConfig, MoleculeConfig, RunConfig, load_config, load_recipe

KINDS: dict[type[RunConfig], type[Training]] = {
    Config: Train,
    ImageConfig: TrainImages,
    MoleculeConfig: TrainMolecules,
}
"""The command of every kind of options."""

COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "train": Train,
    "sample": Sample,
    "evaluate": Evaluate,
    "translate": Translate,
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
        kind = KINDS[type(options)]
        default = kind(data=tyro.MISSING, out=tyro.MISSING, options=options)  # type: ignore[call-arg]
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
    wanted = _kind_of(given["--encoding"], words)
    if config is None:
        return (wanted or Config)()
    if wanted is not None and given["--encoding"] is None and not isinstance(config, wanted):
        source = given["--config"] or given["--recipe"] or saved
        raise CommandError(f"{source}: its options are not those of molecules, which DATA holds")
    if wanted is not None and not isinstance(config, wanted):
        source = given["--config"] or given["--recipe"] or saved
        raise CommandError(f"--encoding is {given['--encoding']}, but the options of {source} are of another encoding")
    if given["--steps"] is not None and given["--minutes"] is None:
        return dataclasses.replace(config, minutes=None)  # minutes go before steps, and a flag before both
    return config


def _kind_of(encoding: str | None, words: list[str]) -> type[RunConfig] | None:
    """The options that --encoding, or else DATA, asks for; None where neither says anything."""
    if encoding is not None:
        kinds: dict[str, type[RunConfig]] = {
            "crystens": ImageConfig,
            "xtal2png": ImageConfig,
            "molecules": MoleculeConfig,
            "graph": Config,
        }
        return kinds.get(encoding)
    from graphgan.data.molecule_files import holds_molecules

    data = _positional(words)
    return MoleculeConfig if data is not None and holds_molecules(data) else None


def _positional(words: list[str]) -> str | None:
    """The first word that is no flag and no value of one."""
    alone = {"-h", "--help", "--resume", "--quiet", *(flag for kind in KINDS for flag in _switches(kind))}
    value = False
    for word in words:
        if word.startswith("-"):
            value = "=" not in word and word not in alone
        elif not value:
            return word
        else:
            value = False
    return None


def _switches(options: type, prefix: str = "") -> Iterator[str]:
    """The flags of options that take no value."""
    for name, hint in typing.get_type_hints(options).items():
        flag = name.replace("_", "-")
        if dataclasses.is_dataclass(hint):
            yield from _switches(typing.cast(type, hint), f"{prefix}{flag}.")
        elif hint is bool:
            yield from (f"--{prefix}{flag}", f"--{prefix}no-{flag}")


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
