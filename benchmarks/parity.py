"""Our attacks beside those of other packages: same models, images, settings and threads: `make parity`.

    python -m benchmarks.parity [--only TEXT] [--samples 100] [--quick] [--out FILE]

Peers' images are clipped to [0, 1] and classified again, and their distances recomputed; failures are infinitely
far. Forwards and backwards are per sample. ✗ marks rows where ours is more than 3 % above the peer's median, or
below its success rate. Ours must also be 1e-4 logits beyond the boundary, our attacks' default.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import minadv
from benchmarks import targets
from benchmarks.outcome import Found, Outcome, run_ours, run_theirs, score
from benchmarks.peers import Peer, adv_lib, foolbox, torchattacks
from benchmarks.tables import MISSED, Table
from benchmarks.tracking import Track, show
from minadv import Attack

CIFAR, AT, KW = targets.FILES
WORSE = 1.03
ORDERS = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}
MEASURED = ("median", "ASR", "fwd/bwd", "seconds")
COLUMNS = ("model", "ours", *MEASURED, "peer", *MEASURED, "medians", "times", "")


@dataclass(frozen=True)
class Row:
    """One of our attacks (a name in `minadv`) with its settings, and a peer with equal ones."""

    model: str
    attack: str
    settings: dict[str, Any]
    peer: Peer
    note: str = ""

    @property
    def ours(self) -> Attack:
        return attrgetter(self.attack)(minadv)(**self.settings)

    @property
    def label(self) -> str:
        return describe(self.ours) + (f"; {self.note}" if self.note else "")

    def __str__(self) -> str:
        return f"{self.model} {self.label} {self.peer.package} {self.peer.settings}"


def rows(quick: bool = False) -> Iterator[Row]:
    """Yield the comparisons, an attack's settings and its peer's in one line; quick ones are of few steps."""
    n, m, searches = (10, 10, 2) if quick else (100, 1000, 9)

    def row(model: str, attack: str, peer: Peer, note: str = "", **settings: Any) -> Row:
        return Row(model, attack, settings, peer, note)

    for d in ("l2", "l1", "linf"):
        yield row(CIFAR, "FAB", adv_lib("fab", norm=ORDERS[d], n_iter=n), distance=d, steps=n)
        # its call drops what is not in a ball of given radius, and fails for ℓ1
        one_run = torchattacks("FAB", "attack_single_run", norm=d.title(), steps=n)
        yield row(CIFAR, "FAB", one_run, distance=d, steps=n)
    targeted = adv_lib("fab", norm=2, n_iter=n, targeted_restarts=True, restarts=9)
    yield row(CIFAR, "FAB", targeted, distance="l2", steps=n, n_targets=9)
    for d, steps in (("l1", n), ("l1", m), ("l2", n), ("linf", n), ("l0", n)):
        longest = 10.0 if d == "linf" else 1.0
        theirs = adv_lib("fmn", norm=ORDERS[d], steps=steps, α_init=longest)
        others = foolbox(f"{d.title().replace('i', 'I')}FMNAttack", steps=steps, max_stepsize=longest)
        for peer in (theirs, others):
            yield row(CIFAR, "FMN.paper", peer, distance=d, steps=steps)
            yield row(CIFAR, "FMN", peer, distance=d, steps=steps)
    for steps in (n, m):
        yield row(CIFAR, "DDN", adv_lib("ddn", steps=steps, levels=None), steps=steps)
        yield row(CIFAR, "DDN", foolbox("DDNAttack", steps=steps), steps=steps)
    for d in ("l1", "l2"):
        first = {"l1": 0.5, "l2": 0.1}[d]
        theirs = adv_lib("alma", distance=d, num_steps=n, init_lr_distance=first, α=0.5)
        yield row(CIFAR, "ALMA.paper", theirs, distance=d, steps=n)
        yield row(CIFAR, "ALMA", theirs, "our own defaults", distance=d, steps=n)
    for rule in ("l1", "en"):
        theirs = foolbox("EADAttack", binary_search_steps=searches, steps=n, decision_rule=rule.upper())
        yield row(CIFAR, "EAD.paper", theirs, searches=searches, steps=n, rule=rule)
        yield row(CIFAR, "EAD", theirs, "more patient, aborts by sample", searches=searches, steps=n, rule=rule)
    for steps in (n, m):
        theirs = adv_lib("perc_al", num_classes=10, max_iterations=steps)
        yield row(CIFAR, "PerCAL", theirs, distance="ciede2000", steps=steps)
        scored = "the peer descends the correct scale and is scored on the paper's"
        yield row(CIFAR, "PerCAL", theirs, scored, distance="ciede2000:scale=paper", steps=steps)
    yield row(CIFAR, "DeepFool", adv_lib("df", steps=n), distance="l2", steps=n)
    yield row(CIFAR, "DeepFool", adv_lib("df", steps=n, norm=math.inf), distance="linf", steps=n)
    yield row(CIFAR, "SuperDeepFool", adv_lib("sdf", steps=n), steps=n)
    for d, adaptive in (("l2", False), ("l2", True), ("linf", False), ("linf", True)):
        theirs = adv_lib("tr", iter=n, p=ORDERS[d], adaptive=adaptive)
        yield row(CIFAR, "TrustRegion.paper", theirs, distance=d, steps=n, adaptive=adaptive)
    yield row(CIFAR, "PDGD", adv_lib("pdgd", num_steps=m), steps=m)
    for d in ("l1", "linf"):
        yield row(CIFAR, "PDPGD", adv_lib("pdpgd", norm=ORDERS[d], num_steps=m), distance=d, steps=m)
    theirs = adv_lib("pdpgd", norm=0, proximal_operator=23, num_steps=m)
    yield row(CIFAR, "PDPGD", theirs, distance="l0", steps=m)
    for steps in (n, m):
        yield row(CIFAR, "SigmaZero", adv_lib("sigma_zero", num_steps=steps), steps=steps)

    yield row(KW, "FAB", adv_lib("fab", norm=2, n_iter=n), distance="l2", steps=n)
    yield row(KW, "PDPGD", adv_lib("pdpgd", norm=1, num_steps=m), distance="l1", steps=m)
    yield row(AT, "FAB", adv_lib("fab", norm=2, n_iter=n), distance="l2", steps=n)
    yield row(AT, "DDN", adv_lib("ddn", steps=m, levels=None), steps=m)
    yield row(AT, "PDGD", adv_lib("pdgd", num_steps=m), steps=m)
    yield row(AT, "PDPGD", adv_lib("pdpgd", norm=1, num_steps=m), distance="l1", steps=m)

    # the long ones last
    theirs = adv_lib("carlini_wagner_l2", binary_search_steps=searches, max_iterations=m)
    yield row(KW, "CW.paper", theirs, searches=searches, steps=m)
    yield row(KW, "CW", theirs, "aborts by sample, begins farther inside the box", searches=searches, steps=m)
    theirs = adv_lib("str_attack", max_iterations=n)
    yield row(CIFAR, "StrAttack", theirs, "a search starts from zero, not where the last one ended", steps=n)
    minimal = {"norm": 2, "max_eps": 2.5, "binary_search_steps": searches + 4, "n_iter": n}
    theirs = adv_lib("auto_pgd.minimal_apgd", **minimal, targeted_version=True)
    ours: dict[str, Any] = {"distance": "l2", "largest": 2.5, "bisections": searches + 4, "steps": n}
    yield row(CIFAR, "MinimalAPGD", theirs, **ours, target_loss="target")


def describe(attack: Attack) -> str:
    """Return the attack with its number of steps, its distance and whatever is not a default."""
    values = {f.name: getattr(attack, f.name) for f in fields(attack)}
    defaults = {f.name: f.default for f in fields(attack) if f.default is not MISSING}
    shown = {name: value for name, value in values.items() if name == "steps" or value != defaults.get(name)}
    distance = minadv.distances.resolve(shown.pop("distance", attack.distance)).name
    return f"{type(attack).__name__}({', '.join([distance, *(f'{k}={v!r}' for k, v in shown.items())])})"


class Comparison:
    """Runs attacks on the first images that each model classifies correctly; a run is never repeated."""

    def __init__(self, folder: Path, samples: int) -> None:

        def load(name: str) -> targets.Attackable:
            return targets.load(name, folder, samples)

        self._load = lru_cache(maxsize=1)(load)
        self._ours: dict[tuple[str, str], Outcome] = {}
        self._theirs: dict[tuple[str, Peer], Found] = {}

    def ours(self, row: Row) -> Outcome:
        key = row.model, repr(row.ours)
        if key not in self._ours:
            self._ours[key] = run_ours(row.ours, *self._load(row.model))
        return self._ours[key]

    def theirs(self, row: Row) -> Outcome:
        key, batch = (row.model, row.peer), self._load(row.model)
        if key not in self._theirs:
            self._theirs[key] = run_theirs(row.peer, *batch)
        return score(self._theirs[key], row.ours.distance, *batch)


def verdict(ours: Outcome, theirs: Outcome) -> tuple[str, str, str]:
    """Ratio of medians, ratio of times, and the mark."""
    medians = 1.0 if ours.median == theirs.median else _ratio(ours.median, theirs.median)
    worse = medians > WORSE or ours.asr < theirs.asr
    return f"{medians:.3f}", f"{ours.seconds / theirs.seconds:.2f}", MISSED if worse else ""


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs > 0 else math.inf


def tables(chosen: Sequence[Row], comparison: Comparison, note: str, track: Track) -> Iterator[Table]:
    """Yield the table after every row."""
    done: list[tuple[str, ...]] = []
    for row in track("parity", chosen):
        ours, theirs = comparison.ours(row), comparison.theirs(row)
        peer = f"{row.peer.installed} {row.peer.settings}"
        done.append((row.model, row.label, *ours.cells, peer, *theirs.cells, *verdict(ours, theirs)))
        yield Table("Beside other packages", COLUMNS, tuple(done), note, complete=len(done) == len(chosen))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=targets.SHARED)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--only", default="", help="part of a row's model, attack or peer")
    parser.add_argument("--quick", action="store_true", help="few steps, to see that every row runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to, row by row")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    # by name, as quick rows of fewer steps may be the same
    named = {str(row): row for row in rows(arguments.quick)}
    chosen = [row for name, row in named.items() if arguments.only.lower() in name.lower()]
    if not chosen:
        parser.error(f"no model, attack or peer has {arguments.only!r} in it")
    comparison = Comparison(arguments.data, arguments.samples)
    note = f"{arguments.samples} images, {arguments.threads} threads"
    console = Console(width=None if Console().is_terminal else 240)
    show(lambda track: tables(chosen, comparison, note, track), arguments.out, console)


if __name__ == "__main__":
    main()
