"""Signs of gradient masking in per-sample distances: pure functions, for a diagnosis and for stored results alike.

All take (samples,) distances of the same samples in the same order: inf where an attack found nothing, 0 where the
sample was misclassified from the start (those are not compared), NaN where there is no result.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from minadv.diagnosis.finding import Finding

# minimal distances that were searched differently agree to less than this where nothing is wrong
BY = 0.01
# Shares of samples that an attack without gradients wins. Where few dimensions or tiny distances leave little to
# search, it wins some by luck: at most 3 of 64 samples on ten linear models of 12 inputs, none from 24 inputs on.
# Those are notes.
LUCK, BEATEN_SHARE = 0.05, 0.1
FEWEST_BEATEN = 2
LUCKY = (
    "So few samples are won by luck, too, where there is little to search: their white-box distances are too "
    "large, which says nothing of the others."
)
LUCKY_REMEDY = "Report the smaller distance of each sample."
# Longer searches end in other local minima: with ALMA ℓ2, 100 and 1000 steps, 5 % (mnist_lenet5_std) to 8 %
# (cifar_resnet4b) of 100 samples become worse, 16 % on a provably trained network of digits, 37 and 64 % where
# gradients are masked (mnist_lenet5_linf_at, mnist_kw).
LOST_SHARE, WORSE_SHARE = 0.13, 0.25
# Backward passes through soft gates win 16 % of 32 samples by luck at most (nine networks), and 28 to 91 % where
# gradients are masked (mnist_kw, mnist_lenet5_linf_at, and two of the frontier's).
SOFT_LUCK, SOFT_SHARE = 0.22, 0.33
# fewer samples say nothing about shares and medians
FEWEST_SAMPLES = 8

PerSample = Float[Tensor, " samples"]
Mask = Bool[Tensor, " samples"]


def compared(one: PerSample, other: PerSample) -> Mask:
    """Which samples both attacks have a result for, that were not misclassified from the start."""
    return (one > 0) & (other > 0)


def beaten(white_box: PerSample, other: PerSample, by: float = BY) -> Mask:
    """Where `other` is smaller than `white_box` by more than a share of it."""
    return compared(white_box, other) & (other < (1 - by) * white_box)


@dataclass(frozen=True, eq=False)
class MoreSteps:
    """What more steps of the same attack did.

    Attributes:
        compared: which samples count.
        worse, better: where the longer search's distance is larger, smaller by more than `BY`.
        few, many: medians over the compared samples (the lower middle), inf below an ASR of 50 %.
    """

    compared: Mask
    worse: Mask
    better: Mask
    few: float
    many: float

    @property
    def count(self) -> int:
        """How many samples are compared."""
        return int(self.compared.sum())

    @property
    def larger_median(self) -> bool:
        """Whether the median is larger after more steps, by more than `BY`.

        One sample in the middle can do that alone: as many as an ordinary search loses have to become worse.
        """
        enough = self.count >= FEWEST_SAMPLES and int(self.worse.sum()) > LOST_SHARE * self.count
        return enough and self.many > (1 + BY) * self.few

    @property
    def often_worse(self) -> bool:
        """Whether more than `WORSE_SHARE` of the samples become worse."""
        return self.count >= FEWEST_SAMPLES and int(self.worse.sum()) > WORSE_SHARE * self.count


def worse_with_more_steps(few: PerSample, many: PerSample) -> MoreSteps:
    """Compare the distances of one attack at few and at many steps."""
    both = compared(few, many)
    medians = [values[both].median().item() if both.any() else 0.0 for values in (few, many)]
    return MoreSteps(both, beaten(many, few), beaten(few, many), *medians)


def beaten_findings(
    check: str,
    model: str,
    white_box: tuple[str, PerSample],
    other: tuple[str, PerSample],
    remedy: str,
    share: float = BEATEN_SHARE,
    matters: str = "Whoever sees the gradients should never do worse than who does not: the gradients mislead "
    "(masking), or the white-box search has not converged, and its distances are too large.",
) -> tuple[Finding, ...]:
    """Say so when an attack without this model's gradients finds smaller perturbations than one with them.

    `white_box` and `other` are what each is called in a sentence, and its distances. It is a problem where more
    than a `share` of the samples lose by that, and a note, with words of its own, where luck explains it.
    """
    rows = beaten(white_box[1], other[1])
    count, total = int(rows.sum()), int(compared(white_box[1], other[1]).sum())
    if not count:
        return ()
    reached = rows & white_box[1].isfinite()
    facts = (
        [f"the median ratio is {(other[1] / white_box[1])[reached].median().item():.2f}"] if reached.any() else []
    )
    if count > reached.sum():
        facts.append(f"{count - int(reached.sum())} of them the latter does not fool at all")
    lucky = count < FEWEST_BEATEN or count <= LUCK * total
    severity = "note" if lucky else "problem" if count > share * total else "warning"
    return (
        Finding(
            check=check,
            severity=severity,
            model=model,
            seen=f"{other[0]} finds a perturbation that is smaller by more than {100 * BY:g} % than that of "
            f"{white_box[0]} on {count} of {total} samples ({'; '.join(facts)})",
            matters=LUCKY if lucky else matters,
            remedy=LUCKY_REMEDY if lucky else remedy,
        ),
    )


def soft_findings(
    model: str, white_box: tuple[str, PerSample], soft: tuple[str, PerSample], remedy: str
) -> tuple[Finding, ...]:
    """Say so when an attack finds smaller perturbations through soft gates, for more samples than luck explains.

    `white_box` and `soft` are what each is called in a sentence, and its distances.
    """
    total = int(compared(white_box[1], soft[1]).sum())
    if total < FEWEST_SAMPLES or int(beaten(white_box[1], soft[1]).sum()) <= SOFT_LUCK * total:
        return ()
    matters = (
        "A backward pass that lets through what ReLUs would pass if they were nearly on should be of less use "
        "than the gradient itself. Where it is of more, most of them are off around these inputs: the gradients "
        "are masked, and distances that were found by them are too large."
    )
    return beaten_findings("soft gates", model, white_box, soft, remedy, SOFT_SHARE, matters)


def more_steps_findings(
    model: str, few: tuple[str, PerSample], many: tuple[str, PerSample]
) -> tuple[Finding, ...]:
    """Say so when an attack finds larger perturbations with more steps; `few`, `many`: (label, distances)."""
    seen = worse_with_more_steps(few[1], many[1])
    if not (seen.larger_median or seen.often_worse):
        return ()
    return (
        Finding(
            check="more steps",
            severity="problem" if seen.larger_median else "warning",
            model=model,
            seen=f"from {few[0]} to {many[0]} the median distance goes from {seen.few:.4g} to {seen.many:.4g}; "
            f"{int(seen.worse.sum())} of {seen.count} samples become worse by more than {100 * BY:g} %, "
            f"{int(seen.better.sum())} better",
            matters="A longer search should find smaller perturbations. Where it does not, the loss surface is "
            "rugged or flat and results depend on where a search happens to end: any one of them is too large.",
            remedy="Take the best of several attacks, step counts and step sizes per sample, and say so; do not "
            "read small differences between attacks or models as progress.",
        ),
    )
