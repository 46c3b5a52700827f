"""All metrics of a set of crystals in one call."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from graphgan import metrics
from graphgan.metrics.distributions import NUM_DRAWS
from graphgan.metrics.nearness import CUTOFFS, PROTOCOLS
from graphgan.metrics.properties import SYMPREC
from graphgan.report import details
from graphgan.report.distances import distances, noise_floor, values_of
from graphgan.report.findings import DEFAULT_BENCHMARK, Findings, Options, find_out
from graphgan.report.published import NUM_SAMPLES, TEST_ROWS, check_benchmark
from graphgan.report.result import Report
from graphgan.report.rows import rows_of

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from rich.progress import Progress

    from graphgan.stability import Stability


def evaluate(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure] | None = None,
    train: Sequence[Structure] | None = None,
    *,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    benchmark: str | None = None,
    coverage: bool = True,
    genmetrics: bool = False,
    stability: Stability | None = None,
    table: str = metrics.OXIDATION_TABLES[0],
    tolerances: str = "cdvae",
    workers: int | None = None,
    progress: bool = False,
) -> Report:
    """Every metric of `samples` that the given data allow, in the protocol of CDVAE (Xie et al. 2022,
    arXiv:2110.06197).

    Failed samples are None and stay in the denominator of every share. Distances and coverage need `reference`, novelty
    needs `train`. `ids` name the samples in per_structure.csv. `benchmark` ("perov_5", "carbon_24" or "mp_20") sets the
    cut-offs of coverage and puts published rows beside ours. `coverage` can be left out, since fingerprints are slow:
    milliseconds a crystal, kept in the cache folder. `genmetrics` adds the four metrics of matbench-genmetrics, which
    need fingerprints of the training crystals too. `stability` is what `graphgan.stability.stability` found for these
    samples. `table` names the oxidation states, `tolerances` those of the headline uniqueness and novelty; `workers` is
    the number of processes, all cores by default.

    Raises ValueError for no samples, an empty reference or training set, or ids or stability of another number, and for
    unknown names.
    """
    options = Options(seed, table, tolerances, benchmark, coverage, genmetrics, workers)
    _check(samples, reference, train, ids, stability, options)
    start = time.perf_counter()
    with progress_bar(progress) as bar, warnings.catch_warnings():
        # pymatgen warns of every noble gas that it has to sort into a formula.
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        findings = find_out(samples, reference, train, options, bar)
    numbers = _shares(findings, options)
    ours = {name: values_of(findings.population(name)) for name in ("structurally_valid", "valid")}
    theirs, floor = None, {}
    if findings.reference is not None:
        theirs = values_of(findings.reference, findings.symmetric)
        numbers |= distances(ours, theirs, seed)
        floor = noise_floor(theirs, len(ours["valid"]["density"]), seed)
    numbers |= _coverage(findings)
    if genmetrics:
        numbers |= details.genmetrics(findings, reference, train, workers)
    if stability is not None:
        numbers |= _stability(stability, findings.comparisons[tolerances])
    absent = details.missing(findings)
    numbers |= {f"missing_{name}": found["missing"] for name, found in absent.items()}
    numbers |= details.volume_transfer(findings, reference, train, seed)
    numbers |= details.amd_distances(findings, train, seed)
    numbers["wall_seconds"] = time.perf_counter() - start
    return Report(
        metrics={name: value for name, value in numbers.items() if not math.isnan(value)},
        per_structure=rows_of(findings, tolerances, ids, stability),
        warnings=_warnings(findings, reference, benchmark, stability),
        settings=_settings(findings, options, None if train is None else len(train), stability),
        noise_floor=floor,
        details={
            "missing": absent,
            "validity_by_size": details.by_size(findings),
            "bond_lengths": details.bond_lengths(findings),
        },
        distributions={"generated": ours["structurally_valid"], **({} if theirs is None else {"reference": theirs})},
        samples=samples,
        reference=reference if reference is not None else (),
    )


def _check(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure] | None,
    train: Sequence[Structure] | None,
    ids: Sequence[str] | None,
    stability: Stability | None,
    options: Options,
) -> None:
    for name, given in {"samples": samples, "reference": reference, "train": train}.items():
        if given is not None and len(given) == 0:
            raise ValueError(f"{name} holds no crystals")
        if given is not None and name != "samples" and any(crystal is None for crystal in given):
            raise ValueError(f"{name} holds None, expected real crystals only")
    if ids is not None and len(ids) != len(samples):
        raise ValueError(f"{len(ids)} ids for {len(samples)} samples")
    if stability is not None and len(stability.rows) != len(samples):
        raise ValueError(f"stability of {len(stability.rows)} crystals for {len(samples)} samples")
    if options.benchmark is not None:
        check_benchmark(options.benchmark)
    for name, known in {options.tolerances: metrics.TOLERANCES, options.table: metrics.OXIDATION_TABLES}.items():
        if name not in known:
            raise ValueError(f"{name!r} is not known; known are {', '.join(known)}")
    if options.seed < 0:
        raise ValueError(f"seed is {options.seed}, expected 0 or more")


def progress_bar(shown: bool) -> Progress:
    """A bar on stderr, or one that shows nothing."""
    from rich.console import Console
    from rich.progress import Progress

    # On stderr, so that what a command prints stays clean.
    return Progress(console=Console(stderr=True), disable=not shown, transient=True)


def _shares(findings: Findings, options: Options) -> dict[str, float]:
    total = len(findings.samples)
    main = findings.comparisons[options.tolerances]
    valid = [p is not None and p.compositionally_valid for p in findings.profiles]
    shares = {
        "num_samples": metrics.num_samples(findings.samples),
        "decode_failures": metrics.decode_failures(findings.samples),
        "structural_validity": len(findings.population("structurally_valid")) / total,
        "compositional_validity": sum(valid) / total,
        "validity": len(findings.population("valid")) / total,
        "uniqueness": main.uniqueness,
    }
    if main.novel is not None:
        new = [u and n and v for u, n, v in zip(main.unique, main.novel, valid, strict=True)]
        shares |= {"novelty": sum(main.novel) / total, "unique_novel_valid": sum(new) / total}
    for name, other in findings.comparisons.items():
        if name != options.tolerances:
            shares[f"uniqueness_{name}"] = other.uniqueness
            if other.novelty is not None:
                shares[f"novelty_{name}"] = other.novelty
    return shares


def _coverage(findings: Findings) -> dict[str, float]:
    """Coverage in CDVAE's protocol, the shares of the paper's definition."""
    prints = findings.prints
    if prints is None:
        return {}
    by_protocol = {
        protocol: prints.nearness.coverage(protocol, len(findings.samples)).as_dict() for protocol in PROTOCOLS
    }
    numbers = by_protocol["cdvae"]
    numbers |= {
        f"{name}_{protocol}": by_protocol[protocol][name]
        for protocol in PROTOCOLS
        if protocol != "cdvae"
        for name in ("coverage_recall", "coverage_precision")
    }
    return numbers


def _stability(stability: Stability, comparison: metrics.Comparison) -> dict[str, float]:
    numbers = {
        "stable": stability.stable,
        "metastable": stability.metastable,
        "stability_failures": stability.failed,
    }
    if comparison.novel is not None:
        numbers["sun"] = stability.sun(comparison.unique, comparison.novel)
        numbers["msun"] = stability.msun(comparison.unique, comparison.novel)
    return numbers


def _settings(
    findings: Findings, options: Options, num_train: int | None, stability: Stability | None
) -> dict[str, Any]:
    comparison = findings.comparisons[options.tolerances]
    settings: dict[str, Any] = {
        "seed": options.seed,
        "benchmark": options.benchmark,
        "tolerances": {"name": options.tolerances, **metrics.TOLERANCES[options.tolerances]},
        "oxidation_states": options.table,
        "symprec": SYMPREC,
        "min_distance": metrics.MIN_DISTANCE,
        "min_volume": metrics.MIN_VOLUME,
        "num_draws": NUM_DRAWS,
        "num_valid": len(findings.population("valid")),
        "num_reference": None if findings.reference is None else len(findings.reference),
        "num_train": num_train,
        "num_comparisons": comparison.comparisons,
    }
    if findings.prints is not None:
        name = options.benchmark or DEFAULT_BENCHMARK
        settings["coverage_cutoffs"] = {"of": name, **CUTOFFS[name]._asdict()}
        settings["fingerprint_failures"] = findings.prints.failures
    if stability is not None:
        facts = asdict(stability)
        settings["stability"] = {name: facts[name] for name in ("potential", "fmax", "max_steps", "num_hull")}
    return settings


def _warnings(
    findings: Findings, reference: Sequence[Structure] | None, benchmark: str | None, stability: Stability | None
) -> list[str]:
    notes = [f"{name} tolerances: {note}" for name, found in findings.comparisons.items() for note in found.notes]
    num_valid = len(findings.population("valid"))
    num_reference = None if findings.reference is None else len(findings.reference)
    if reference is not None and num_reference != len(reference):
        invalid = len(reference) - (num_reference or 0)
        notes.append(f"{invalid} reference crystal(s) are not structurally valid and enter no distance")
    if not findings.population("structurally_valid"):
        notes.insert(0, "no sample is structurally valid: there is nothing to compare")
    elif num_reference is not None and num_valid < NUM_DRAWS:
        notes.append(
            f"density and number-of-elements distances use all {num_valid} valid samples; the published protocol draws "
            f"{NUM_DRAWS:,}, and fewer samples raise the noise floor"
        )
    if num_reference is not None and num_reference < 100:
        notes.append(f"the reference holds only {num_reference} crystal(s): distances from it are mostly noise")
    if findings.prints is not None:
        notes += _coverage_notes(len(findings.samples), len(findings.prints.theirs), benchmark)
    return [*notes, *(stability.notes if stability is not None else ())]


def _coverage_notes(num_samples: int, num_reference: int, benchmark: str | None) -> list[str]:
    """Coverage grows with the number of crystals on the other side, so it compares at equal numbers only."""
    notes = []
    if num_samples < 0.9 * NUM_SAMPLES:
        notes.append(
            f"coverage recall is that of {num_samples:,} samples; published values are of {NUM_SAMPLES:,}, and fewer "
            "samples reach less"
        )
    if benchmark is not None and not 0.9 < num_reference / TEST_ROWS[benchmark] < 1.1:
        notes.append(
            f"coverage precision is against {num_reference:,} real crystals; published values are against "
            f"{TEST_ROWS[benchmark]:,}: the more there are to be near to, the higher it is"
        )
    return notes
