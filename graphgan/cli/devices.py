"""Where a command computes: the device and the number of CPU threads; imports torch and nothing else that is heavy."""

import os

import torch

from graphgan.cli.commands import CommandError


def choose_device(name: str) -> torch.device:
    """The device of a name; auto takes a GPU where there is one. CommandError for a GPU that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise CommandError("--device cuda: torch finds no GPU here; use --device cpu")
    return torch.device(name)


def set_threads(threads: int) -> None:
    """Let torch use `threads` CPU threads; 0 means the cores of this machine."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
