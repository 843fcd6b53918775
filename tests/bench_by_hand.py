"""Benchmark folders whose every number is chosen or drawn here, for tests of what is shown of them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import polars as pl
import torch

from minadv import hashes
from minadv.bench.records import MEASURED, ROWS, Cell, Diagnosis, Failure, Planned
from minadv.bench.stored import Pictures, Stored
from minadv.diagnosis.finding import Finding
from minadv.result import Trace
from minadv.run_folder import Environment

INF = float("inf")
NASTY = '</script><script>document.title="owned"</script>|$_{%&\u2028'
SYMBOLS = {
    "l0": "ℓ0",
    "l1": "ℓ1",
    "l2": "ℓ2",
    "linf": "ℓ∞",
    "ciede2000_paper": "CIEDE2000",
    "lpips_paper": "LPIPS",
}
LABELS = {"ciede2000_paper": "ciede2000[paper]", "lpips_paper": "lpips[alex,none]"}
PAPER_MODELS = ("WRN 28-10", "WRN 28-10 Carmon et al.", "RN-50 Augustin et al.")
# a distance's size relative to ℓ2, so that each table has numbers of its own kind
SIZES = {"l0": 400.0, "l1": 12.0, "l2": 1.0, "linf": 0.05, "ssim": 4e-4, "ciede2000": 9.0}
SIZES |= {"ciede2000_paper": 2.0, "lpips": 0.01, "lpips_paper": 0.01}


def cell(model: str = "Net", attack: str = "ALMA ℓ2 100", **changes: object) -> Cell:
    name, _, budget = attack.partition(" ≤")
    facts = {
        "id": hashes.digest(model, attack),
        "model": model,
        "attack": attack,
        "model_spec": f"file:{model}",
        "model_hash": hashlib.sha256(model.encode()).hexdigest(),
        "family": attack.split()[0].lower(),
        "settings": {
            "steps": int(name.split()[-1].split("×")[-1]),
            "budget": int(budget) if budget else None,
            "distance": "l2",
        },
        "minimises": "l2",
        "column": "l2",
        "goal": "untargeted",
        "data": "npz:/data/cifar10_test_1000.npz",
        "classes": ("plane", "car", "bird", "cat"),
        "paper": None,
        "population": "all",
    }
    return Cell.model_validate(facts | changes)


def rows(of: Cell, distances: Sequence[float] | np.ndarray, **changes: Sequence[object]) -> pl.DataFrame:
    """One row per sample of a cell: distance 0 is a sample that was wrong from the start, inf a failure."""
    values = np.asarray(distances, dtype=np.float64)
    n = len(values)
    number, success, already = np.arange(n), np.isfinite(values), values == 0
    label = number % 4
    unit = SIZES.get(of.column, 1.0)
    columns = {
        "cell": np.repeat(of.id, n),
        "shard": np.repeat(of.id[:8], n),
        "data": np.repeat(of.data, n),
        "model": np.repeat(of.model, n),
        "attack": np.repeat(of.attack, n),
        "minimises": np.repeat(of.minimises, n),
        "sample": number,
        "content": [f"{k:064x}" for k in range(n)],
        "label": label,
        "clean_prediction": np.where(already, (label + 1) % 4, label),
        "adversarial_prediction": np.where(success, (label + 1) % 4, label),
        "status": np.where(already, "already adversarial", np.where(success, "found", "not found")),
        "success": success,
        "distance": values,
        # a column that was not minimised is twice what it would be by an attack that minimises it
        **{name: values / unit * SIZES[name] * (1 if name == of.column else 2) for name in MEASURED},
        "forwards": np.where(already, 1, 100),
        "backwards": np.where(already, 0, 90 + number % 20),
        "margin": np.where(success, -1e-3, 0.5),
        "survives_8bit": [bool(k % 3) if success[k] else None for k in range(n)],
        "seconds": np.full(n, 0.25),
    }
    return pl.DataFrame(columns | changes, schema=ROWS)


@dataclass(frozen=True)
class Shelf:
    """Pictures and traces of cells, made when they are asked for."""

    channels: int = 3
    side: int = 32
    traced: frozenset[str] = frozenset()

    def pictures(self, of: str, samples: Sequence[int]) -> Pictures:
        shape = (self.channels, self.side, self.side)
        ramp = torch.linspace(0, 1, self.side)
        originals = torch.stack([(ramp[:, None] * ramp + 0.07 * sample).expand(shape) % 1 for sample in samples])
        g = torch.Generator().manual_seed(int(of[:8], 16) % 2**31)
        noise = torch.randn(len(samples), *shape, generator=g)
        return Pictures(originals, (originals + 0.01 * noise).clamp(0, 1))

    def traces(self, of: str, samples: Sequence[int]) -> Trace | None:
        if of not in self.traced:
            return None
        queries = torch.arange(100)[:, None]
        speed = 1 + int(of[:2], 16) / 64
        best = 0.3 + torch.exp(-queries * speed / 30) * torch.linspace(1, 2, 9)
        best[:5] = INF
        return Trace((1 + 2 * queries).expand(-1, 9), best).select(torch.tensor([n % 9 for n in samples]))


NO_PICTURES: Callable[[str, Sequence[int]], Pictures] = Shelf(channels=2).pictures


def environment() -> Environment:
    return Environment(python="3.11.2", torch="2.9", platform="Linux", cpus=2, threads=1, commit="abc1234")


def stored(
    *results: tuple[Cell, Sequence[float] | np.ndarray | pl.DataFrame],
    shelf: Shelf | None = None,
    **changes: object,
) -> Stored:
    """A folder in which every planned sample of every cell is done, unless `changes` say otherwise."""
    frames = [(of, found if isinstance(found, pl.DataFrame) else rows(of, found)) for of, found in results]
    planned = tuple(
        Planned(model=of.model, attack=of.attack, cell=of, samples=tuple(frame["sample"].to_list()), data=of.data)
        for of, frame in frames
    )
    shelf = shelf or Shelf()
    return replace(
        Stored(
            title="A suite",
            planned=planned,
            rows=pl.concat([frame for _, frame in frames]),
            failures=(),
            diagnoses=(),
            notes=(),
            environments=(environment(),),
            pictures=shelf.pictures,
            traces=shelf.traces,
        ),
        **changes,
    )


def drawn(
    models: Sequence[str],
    attacks: Sequence[str],
    samples: int,
    column: str = "l2",
    shelf: Shelf | None = None,
    **changes: object,
) -> Stored:
    """Every attack on every model, with distances drawn from a seed: better with more steps, some not found."""
    found = []
    for m, model in enumerate(models):
        g = np.random.default_rng(m)
        hardness = np.sort(g.gamma(3, 0.3, samples)) * (1 + m) * SIZES.get(column, 1.0)
        for a, attack in enumerate(attacks):
            one = cell(model, attack, column=column, minimises=LABELS.get(column, column), **changes)
            steps = one.settings["steps"]
            worse = 1 + 0.05 * (a % 7) + g.gamma(1, 12 / steps, samples)
            values = hardness * worse
            values[g.random(samples) < 0.004 * (a % 5)] = INF
            values[: samples // 50] = 0
            found.append((one, values))
    return stored(*found, shelf=shelf)


def merged(*parts: Stored) -> Stored:
    """Several folders as one; pictures and traces are those of the first."""
    return replace(
        parts[0],
        planned=tuple(planned for part in parts for planned in part.planned),
        rows=pl.concat([part.rows for part in parts]),
    )


def nasty() -> Stored:
    """Names that try to leave the page, a failure, a cell that was never computed, a median of inf."""
    named = {"model": NASTY, "attack": NASTY, "classes": (NASTY,) * 4, "goal": "untargeted"}
    bad = cell(**{name: value for name, value in named.items() if name == "classes"}).model_copy(update=named)
    partner = cell(model=NASTY, attack="FMN $x_1$ | 100")
    lost = cell(model="Lost", attack="ALMA ℓ2 100")
    plan = stored((bad, [0.0, 0.5, INF, INF, INF]), (partner, [0.0, 1.0, 2.0, 3.0, 0.25]))
    failure = Failure(
        shard=hashes.digest("shard"),
        cell=lost,
        samples=(0, 1, 2),
        error=f"ValueError: {NASTY}",
        traceback=f"Traceback\n  {NASTY}",
        when="2026-01-02",
    )
    finding = Finding(
        check="probabilities",
        severity="warning",
        model=NASTY,
        seen=f"rows sum to 1 {NASTY}",
        matters="gradients vanish",
        remedy="return logits",
    )
    severe = finding.model_copy(update={"check": "randomness", "severity": "problem"})
    missing = (
        Planned(model="Lost", attack="ALMA ℓ2 100", cell=lost, samples=(0, 1, 2), data=lost.data),
        Planned(model="Absent", attack=NASTY, cell=None, samples=(), data="demo", unavailable=NASTY),
    )
    return replace(
        plan,
        title=NASTY,
        planned=plan.planned + missing,
        failures=(failure,),
        diagnoses=(
            Diagnosis(
                name=hashes.digest("diagnosis"),
                model=NASTY,
                model_hash=bad.model_hash,
                samples=7,
                checks=("probabilities", "randomness"),
                findings=(finding, severe),
            ),
        ),
        notes=(f"a note {NASTY}",),
    )


@cache
def paper_like(samples: int = 200) -> Stored:
    """Rows of the paper's CIFAR-10 tables, with numbers of our own."""
    models = PAPER_MODELS
    shelf = Shelf(traced=frozenset(cell(model, "ALMA ℓ2 100").id for model in models))
    parts = {
        "l1": ("EAD 9×100", "FAB ℓ1 100", "FMN ℓ1 100", "FMN ℓ1 1000", "ALMA ℓ1 100", "ALMA ℓ1 1000"),
        "l2": ("C&W ℓ2 9×1000", "DDN 100", "DDN 1000", "FAB ℓ2 100", "FMN ℓ2 100", "ALMA ℓ2 100", "ALMA ℓ2 1000"),
        "ssim": ("ALMA SSIM 100", "ALMA SSIM 1000"),
        "ciede2000_paper": ("C&W CIEDE2000 9×1000", "PerC-AL 100", "ALMA CIEDE2000 100", "ALMA CIEDE2000 1000"),
        "lpips_paper": ("C&W LPIPS 9×1000", "ALMA LPIPS 100", "ALMA LPIPS 1000"),
    }
    made = [drawn(models, attacks, samples, column, shelf, paper="cifar10") for column, attacks in parts.items()]
    return merged(*made)
