"""All metrics of a set of molecules in one call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.data.molecules import rdkit
from graphgan.metrics import molecules as metrics
from graphgan.metrics import total_variation, wasserstein
from graphgan.metrics.molecule_profiles import NUMBERS, pooled
from graphgan.metrics.molecule_properties import num_fragments
from graphgan.report.distances import Distance, distances, noise_floor
from graphgan.report.evaluation import progress_bar
from graphgan.report.molecule_findings import MAX_REFERENCE, TRAINED, MoleculeFindings, find_out
from graphgan.report.molecule_result import MoleculeReport
from graphgan.report.molecule_rows import failure_of, failures_by_kind, row_of
from graphgan.report.published import MOLECULE_BENCHMARKS, UnknownBenchmark
from graphgan.rewards import reward

if TYPE_CHECKING:
    from rdkit.Chem import Mol

REWARDS = ("qed", "logp", "sa")
USUAL_SAMPLES = 10_000
"""Samples at which uniqueness is mostly reported."""
MAX_LISTED = 20
"""Repeated molecules that metrics.json lists."""
COLLAPSED = 0.05
"""Share of the samples that are one molecule from which a warning says so."""


def _plain(ours: list, theirs: list, seed: int) -> float:
    return wasserstein(ours, theirs)


def _histograms(ours: list, theirs: list, seed: int) -> float:
    return total_variation(pooled(ours), pooled(theirs))


# The functions of graphgan.metrics.molecules give the same numbers.
DISTANCES: dict[str, Distance] = {
    **{f"{name}_wasserstein": Distance(name, _plain, "valid") for name in NUMBERS},
    "num_atoms_total_variation": Distance("num_atoms", _histograms, "valid"),
    "num_rings_total_variation": Distance("num_rings", _histograms, "valid"),
    "atom_total_variation": Distance("atoms", _histograms, "valid"),
    "bond_total_variation": Distance("bonds", _histograms, "valid"),
    "ring_size_total_variation": Distance("rings", _histograms, "valid"),
    "group_total_variation": Distance("groups", _histograms, "valid"),
}


def evaluate_molecules(
    samples: Sequence[Mol | None],
    *,
    train: Collection[str] | None = None,
    reference: Sequence[Mol | str] | None = None,
    rewards: Sequence[str] = REWARDS,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    raw: Sequence[str] | None = None,
    reasons: Sequence[str] | None = None,
    benchmark: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> MoleculeReport:
    """Every metric of `samples` that the given data allow.

    Failed samples are None and stay in the denominator of validity. `train` holds the canonical SMILES of the training
    molecules and gives novelty; `reference` holds real molecules, or their canonical SMILES, and gives distances.
    `rewards` are names as `graphgan.rewards.reward` takes them. `ids` name the samples. `raw` and `reasons` are of
    failures the SMILES as they were and why there is no molecule, "" where not known. `benchmark` ("qm9") puts
    published rows beside ours. `workers` is the number of processes, all cores by default.

    Raises ValueError for no samples, an empty reference or training set, a negative seed, ids, raw or reasons of
    another number, unknown names, and the reward novelty without `train`; DataError without RDKit.
    """
    start = time.perf_counter()
    functions = {name: reward(name) for name in dict.fromkeys(rewards)}
    _check(samples, train, reference, functions, seed, {"ids": ids, "raw": raw, "reasons": reasons}, benchmark)
    rdkit()
    with progress_bar(progress) as bar:
        findings = find_out(samples, train, reference or (), functions, seed, workers, bar)
    ours, theirs = findings.values()
    numbers = _shares(findings) | _reward_means(findings)
    numbers["internal_diversity"] = findings.diversity(seed)
    floor = {}
    if reference is not None:
        numbers |= distances({"valid": ours}, theirs, seed, DISTANCES)
        floor = noise_floor(theirs, len(ours["qed"]), seed, DISTANCES)
    numbers["wall_seconds"] = time.perf_counter() - start
    rows = _rows(findings, ids, raw, reasons)
    often = sorted(((s, n) for s, n in findings.copies.items() if n > 1), key=lambda pair: (-pair[1], pair[0]))
    settings = {
        "seed": seed,
        "benchmark": benchmark,
        "rewards": ", ".join(functions) or "none",
        "num_valid": findings.strict.accepted,
        "num_reference": None if reference is None else len(theirs["qed"]),
        "num_train": None if train is None else len(train),
        "diversity": _diversity(findings),
        "rdkit": _rdkit_version(),
    }
    return MoleculeReport(
        metrics={name: value for name, value in numbers.items() if not math.isnan(value)},
        warnings=_warnings(findings, numbers, often, None if reference is None else len(reference)),
        settings=settings,
        noise_floor=floor,
        details={
            "failures": failures_by_kind(row["failure"] for row in rows),
            "most_repeated": [[text, count] for text, count in often[:MAX_LISTED]],
        },
        distributions={"generated": ours, **({} if reference is None else {"reference": theirs})},
        per_molecule=rows,
        rewards=tuple(functions),
        reference=findings.reference,
    )


def _check(
    samples: Sequence[Mol | None],
    train: Collection[str] | None,
    reference: Sequence[Mol | str] | None,
    functions: Mapping[str, Callable],
    seed: int,
    parallel: Mapping[str, Sequence[str] | None],
    benchmark: str | None,
) -> None:
    for name, given in {"samples": samples, "reference": reference, "train": train}.items():
        if given is not None and len(given) == 0:
            raise ValueError(f"{name} holds no molecules")
    for name, texts in parallel.items():
        if texts is not None and len(texts) != len(samples):
            raise ValueError(f"{len(texts)} {name} for {len(samples)} samples")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    if train is None and TRAINED in functions:
        raise ValueError(f"the reward {TRAINED} needs training molecules")
    if benchmark is not None and benchmark not in MOLECULE_BENCHMARKS:
        raise UnknownBenchmark(f"unknown benchmark {benchmark!r}; known are {', '.join(MOLECULE_BENCHMARKS)}")


def _shares(findings: MoleculeFindings) -> dict[str, float]:
    strict, loose = findings.strict, findings.loose
    numbers = {
        "num_samples": len(findings.samples),
        "validity": strict.validity,
        "fragmented": metrics.fragmented(findings.samples),
        "decode_failures": 1 - loose.validity,
        "uniqueness": strict.uniqueness,
        "validity_molgan": loose.validity,
        "uniqueness_molgan": loose.uniqueness,
    }
    if strict.novelty is not None and strict.unique_novel_valid is not None and loose.novelty is not None:
        numbers |= {"novelty": strict.novelty, "unique_novel_valid": strict.unique_novel_valid}
        numbers["novelty_molgan"] = loose.novelty
    return numbers


def _reward_means(findings: MoleculeFindings) -> dict[str, float]:
    values, valid = findings.rewards, findings.valid
    if not values:
        return {}
    # Sorted, so that rounding does not depend on the order of the samples.
    numbers = {f"reward_{n}": float(np.sort(v[valid]).mean()) if valid.any() else math.nan for n, v in values.items()}
    numbers["reward_product"] = float(np.sort(np.prod([valid, *values.values()], axis=0)).mean())
    return numbers


def _rows(
    findings: MoleculeFindings, ids: Sequence[str] | None, raw: Sequence[str] | None, reasons: Sequence[str] | None
) -> list[dict[str, Any]]:
    strict, loose, rows = findings.strict, findings.loose, []
    for i, mol in enumerate(findings.samples):
        text = loose.smiles[i] or ("" if raw is None else raw[i])
        facts: dict[str, Any] = {
            "smiles": text,
            "valid": strict.smiles[i] is not None,
            "sanitised": loose.smiles[i] is not None,
            "fragments": None if mol is None else num_fragments(mol),
            "unique": strict.unique[i],
            "novel": None if strict.novel is None else strict.novel[i],
            "failure": failure_of(mol, text, "" if reasons is None else reasons[i]),
        }
        if (found := findings.known.get(strict.smiles[i] or "")) is not None:
            facts |= {name: getattr(found.profile, name) for name in (*NUMBERS, "num_atoms", "num_rings")}
        rewards = {f"reward_{name}": float(values[i]) for name, values in findings.rewards.items()}
        rows.append(row_of(i, i if ids is None else ids[i], facts, rewards))
    return rows


def _diversity(findings: MoleculeFindings) -> str:
    what = f"Morgan fingerprints, radius {metrics.RADIUS}, {metrics.BITS} bits; "
    if len(findings.copies) <= metrics.MAX_DIVERSITY:
        return what + f"all {findings.strict.accepted} valid samples"
    return what + f"{metrics.MAX_DIVERSITY} of {findings.strict.accepted} valid samples, drawn at random"


def _rdkit_version() -> str:
    import rdkit

    return rdkit.__version__


def _warnings(
    findings: MoleculeFindings,
    numbers: Mapping[str, float],
    often: Sequence[tuple[str, int]],
    num_reference: int | None,
) -> list[str]:
    notes, count = [], len(findings.samples)
    if not findings.valid.any():
        notes.append("no sample is valid: there is nothing to compare")
    elif not 0.9 < count / USUAL_SAMPLES < 1.1:
        notes.append(
            f"uniqueness is that of {count:,} samples and falls as more are made: compare it at equal numbers, "
            f"{USUAL_SAMPLES:,} as a rule"
        )
    if often and often[0][1] > COLLAPSED * count:
        notes.append(f"mode collapse: {often[0][1]:,} of {count:,} samples are one molecule, {often[0][0]}")
    if numbers["fragmented"] > 0:
        notes.append(
            f"{100 * numbers['fragmented']:.3g} % of the samples are in pieces, which is not valid here; the public "
            "code of MolGAN counts them as valid: see “As MolGAN counts”"
        )
    lost = len(findings.copies) - len(findings.known)
    if lost:
        notes.append(f"{lost} valid molecule(s) whose SMILES RDKit does not read again enter no distance and no reward")
    if num_reference is not None and num_reference > MAX_REFERENCE:
        notes.append(f"distances are to {MAX_REFERENCE:,} of {num_reference:,} reference molecules, drawn at random")
    if num_reference is not None and num_reference < 100:
        notes.append(f"the reference holds only {num_reference} molecule(s): distances from it are mostly noise")
    return notes
