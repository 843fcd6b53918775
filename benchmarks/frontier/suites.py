"""What to attack and with what: a suite of the benchmark for each data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.frontier import models
from minadv import errors
from minadv.attacks.registry import REGISTRY
from minadv.bench.suite import AttackEntry, ModelEntry, Suite

LP = ("l0", "l1", "l2", "linf")
COLOUR = ("ciede2000", "ciede2000:scale=paper")
DISTANCES = (*LP, "ssim", *COLOUR)
LPIPS = "lpips:trunk=demo"
BY_HAND = "weighted", "power", "differences", "blurred"
OWN = tuple(f"python:benchmarks.frontier.distances:{name}" for name in BY_HAND)
ON_DEMAND = (LPIPS, *OWN)  # slow, or not the library's
MNIST = "mnist_test.npz"
GROUPS = ("auto", "alma", "peers", "more", "long", "ablation")
# Auto without one of its parts, or with more or less of it
ABLATION = (
    "stop_early=false",
    "explored=0.05",
    "explored=0.95",
    "memory=0",
    "aimed=false",
    "explorations=1",
    "lagrangian=false",
    "softness=0",
    "across=normal",
    "bolder=1",
    "soft_gates=false",
    "moves=false",
    "round_length=30",
    "round_length=300",
    "round_length=100000",
)


@dataclass(frozen=True)
class Target:
    """Models with the same data.

    Attributes:
        name: of the data, and of the folder with the results.
        data: spec.
        models: name in tables → spec.
        distances: that its images have; the window of SSIM is larger than 8×8.
        named: whether it is run only where it is asked for by name: hours on two cores.
    """

    name: str
    data: str
    models: dict[str, str]
    distances: tuple[str, ...]
    named: bool = False


def targets() -> tuple[Target, ...]:
    """Return everything there is to attack, whether or not it is on this machine."""
    own = "python:benchmarks.frontier.models:"
    digits = {name: own + name for name in ("digits_mlp", "digits_l2_at", "digits_linf_at", "digits_ibp")}
    mnist = ("mnist_lenet5_std", "mnist_lenet5_linf_at", "mnist_kw")
    unseen = ("unseen_l2_at", "unseen_linf_at", "unseen_ibp", "unseen_trades", "unseen_vit")
    cifar = ("cifar_resnet4b", "cifar_cnn_a_adv")
    grey, colour = (*LP, "ssim", *OWN), (*LP, "ssim", *COLOUR, *ON_DEMAND)
    demo = {"demo": "demo", "demo_linf_at": f"{own}demo_linf_at"}
    large = {name: own + name for name in ("large_std", "large_l2_at")}
    return (
        Target("demo", "demo", demo, colour),
        Target("digits", f"npz:{models.folder() / 'digits.npz'}", digits, (*LP, *OWN)),
        Target("mnist", f"npz:{MNIST}", {name: f"zoo:{name}" for name in mnist}, grey),
        # `train` leaves these images out
        Target("unseen", f"npz:{MNIST}", {name: own + name for name in unseen}, grey),
        Target("large", f"npz:{models.folder() / 'large.npz'}", large, (*LP, "ssim", *COLOUR), named=True),
        Target("cifar10", "npz:cifar10_test_1000.npz", {name: f"zoo:{name}" for name in cifar}, colour),
    )


@dataclass(frozen=True)
class Candidate:
    """An attack and settings, as in "auto:budget=100", "alma:steps=100,alpha=0.8" or "alma.paper:steps=100"."""

    attack: str
    paper: bool
    options: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, text: str) -> "Candidate":
        """Read a candidate.

        Raises:
            ValueError: for an unknown attack, or an option without a value.
        """
        name, _, written = text.partition(":")
        attack, dot, preset = name.partition(".")
        if attack not in REGISTRY or (dot and preset != "paper"):
            raise errors.unknown("attack", name, (*GROUPS, *REGISTRY, *(f"{known}.paper" for known in REGISTRY)))
        pairs = [pair.partition("=") for pair in filter(None, written.split(","))]
        if not all(equals and value for _, equals, value in pairs):
            raise ValueError(f"hyper-parameters are written key=value,key=value, got {written!r} in {text!r}")
        return cls(attack, bool(dot), tuple((key.strip(), value.strip()) for key, _, value in pairs))

    @property
    def label(self) -> str:
        """What tables call it: the class, its steps or budget, and other hyper-parameters."""
        words = [value if key in ("steps", "budget") else f"{key}={value}" for key, value in self.options]
        return " ".join((REGISTRY[self.attack].attack + (".paper" if self.paper else ""), *words))

    def fits(self, distance: str) -> bool:
        """Whether it can minimise a distance. The paper's settings are for its own scale of colour."""
        own_scale = self.paper and distance == "ciede2000"
        return REGISTRY[self.attack].minimises(distance.partition(":")[0]) and not own_scale

    def entry(self, distances: Sequence[str]) -> AttackEntry:
        """Return the entry of a suite; labels end in a comma and the distance."""
        given = dict(self.options)
        steps, budget = given.pop("steps", None), given.pop("budget", None)
        return AttackEntry(
            attack=self.attack,
            distances=tuple(distances),
            steps=() if steps is None else (_whole("steps", steps),),
            budgets=() if budget is None else (_whole("budget", budget),),
            paper=self.paper,
            label=f"{self.label}, {{distance}}",
            options=dict(given),
        )


def _whole(key: str, text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{key} needs a whole number, got {text!r}")
    return int(text)


def candidates(texts: Sequence[str], budgets: Sequence[int]) -> tuple[Candidate, ...]:
    """Return what groups and texts mean, each once, in order.

    Groups: `auto`; `alma`, our defaults and the paper's; `peers`, first-order attacks and FAB; `more`, nested and
    targeted searches; all within a budget of forwards and as much of backwards. `long`: all but the last of these
    with ten times the budgets, for what is best known. `ablation`: Auto without its parts, and all in one round.
    """
    wanted = [text for name in texts for text in (_group(name, budgets) if name in GROUPS else (name,))]
    return tuple(Candidate.of(text) for text in dict.fromkeys(wanted))


def _group(name: str, budgets: Sequence[int]) -> Iterator[str]:
    if name == "long":
        longer = [10 * budget for budget in budgets]
        for group in ("auto", "alma", "peers"):
            yield from _group(group, longer)
    for budget in budgets:
        if name == "auto":
            yield f"auto:budget={budget}"
        elif name == "ablation":
            yield from (f"auto:budget={budget}{change}" for change in ("", *(f",{one}" for one in ABLATION)))
        elif name == "alma":
            yield from (f"alma:steps={budget}", f"alma.paper:steps={budget}")
        elif name == "peers":
            yield f"fab:steps={max(budget // 10, 1)}"  # a backward for each of ten classes
            yield from (f"{attack}:steps={budget}" for attack in ("fmn", "pdpgd", "pdgd", "ddn", "sigma_zero"))
        elif name == "more":
            yield f"fab:n_targets=9,steps={max((budget // 9 - 1) // 2, 1)}"
            yield f"cw:steps={max(budget // 9, 1)}"
            yield f"ead:steps={max((budget - 1) // 18, 1)}"
            yield f"percal:steps={max((budget - 1) // 2, 1)}"


def suites(
    chosen: Sequence[Candidate], distances: Sequence[str], words: Sequence[str] = (), samples: int = 100
) -> Iterator[tuple[str, Suite]]:
    """Yield a suite, and the folder of its results, for each data set that has something to run.

    Args:
        chosen: what to run.
        distances: what to minimise, where it fits; "own" is all that are not the library's.
        words: parts of names of data sets or models; any of them will do, none means all but the slowest.
        samples: the first so many that a model classifies correctly.

    Raises:
        ValueError: for a distance that no target has.
    """
    distances = tuple(each for name in distances for each in (OWN if name == "own" else (name,)))
    known = (*DISTANCES, *ON_DEMAND)
    strange = next((distance for distance in distances if distance not in known), None)
    if strange is not None:
        raise errors.unknown("distance", strange, (*known, "own"))
    for target in targets():
        kept = {
            name: spec
            for name, spec in target.models.items()
            if any(word in (target.name, name) or word in name for word in words) or not (words or target.named)
        }
        fitting = [
            (candidate, [each for each in distances if each in target.distances and candidate.fits(each)])
            for candidate in chosen
        ]
        entries = tuple(candidate.entry(some) for candidate, some in fitting if some)
        if kept and entries:
            yield (
                target.name,
                Suite(
                    title=f"Frontier: {target.name}",
                    data=target.data,
                    data_name=target.name,
                    samples=samples,
                    population="correct",
                    models=tuple(ModelEntry(spec=spec, name=name, optional=True) for name, spec in kept.items()),
                    attacks=entries,
                ),
            )
