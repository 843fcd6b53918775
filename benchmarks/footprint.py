"""Peak memory of every attack beyond the model's own passes, in tensors of the input's size."""

from collections.abc import Iterator
from dataclasses import fields

from benchmarks.cases import CIFAR, Case, load
from benchmarks.memory import peak
from benchmarks.paired import bare_pass
from benchmarks.tables import Table, judged
from benchmarks.tracking import Track
from minadv import Attack, attacks
from minadv.attacks.auto.rounds import SHORT
from minadv.attacks.registry import REGISTRY

AT_MOST = 12
OWN = "python:benchmarks.frontier.distances:differences"
DISTANCES = ("l0", "l1", "l2", "linf", "ssim", "ciede2000", OWN, "lpips:trunk=demo")
# a distance that keeps features of the original takes what its network asks for
UNLIMITED = ("lpips:trunk=demo",)
# two rounds of what is repeated, as one may still hold the other's tensors
STEPS, ROUNDS = 3, 2
# of Auto three, the third again with two tries: no shorter than that, without the steps for its best answer
LENGTH = SHORT + 10
AUTO = {"round_length": LENGTH, "budget": 3 * LENGTH + 1}
REPEATED = ("searches", "outer", "bisections", "refine_rounds", "deepfool_steps", "refine_steps")
NOTE = (
    f"At most {AT_MOST}, except for LPIPS, which keeps the features of the originals. {STEPS} steps (Auto: three "
    f"rounds of {LENGTH}). Every attack follows one trajectory at a time; Auto keeps the end of another, and FAB, "
    "DeepFool and SuperDeepFool look at a gradient per class on the way."
)


def short(name: str, distance: str) -> Attack:
    """Return the attack of that name with few steps."""
    kind = attacks.find(name)
    own = {field.name for field in fields(kind)}
    given = {repeated: ROUNDS for repeated in REPEATED if repeated in own}
    given |= {"steps": STEPS} if "steps" in own else AUTO
    return kind(distance=distance, **given)


def beyond(attack: Attack, case: Case) -> float:
    """Peak memory beyond that of a bare forward and backward pass, in tensors of the input's size."""
    own = peak(lambda: bare_pass(case.model, case.inputs))
    return (peak(lambda: attack(case.model, case.inputs, case.labels)) - own) / case.bytes


def tables(only: str, track: Track) -> Iterator[Table]:
    """Yield one table, of all attacks whose name contains the text."""
    case = load(CIFAR)
    rows: list[tuple[str, ...]] = []
    for name in track("memory", [name for name in REGISTRY if only.lower() in name]):
        able = [d for d in DISTANCES if REGISTRY[name].minimises(d.partition(":")[0])]
        found = {distance: beyond(short(name, distance), case) for distance in able}
        cells = [cell(found.get(distance), distance) for distance in DISTANCES]
        rows.append((REGISTRY[name].attack, *cells))
    columns = ("extra tensors", *("your own" if distance == OWN else distance for distance in DISTANCES))
    if rows:
        yield Table(f"Peak memory beyond the bare pass: {case}", columns, tuple(rows), NOTE)


def cell(value: float | None, distance: str) -> str:
    if value is None:
        return ""
    return judged(value, None if distance in UNLIMITED else AT_MOST, digits=1)
