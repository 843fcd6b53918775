"""Check of the clean accuracy: a model that guesses has no robustness to measure."""

from torch import Tensor

from minadv.data.loading import DARKEST
from minadv.diagnosis.comparisons import FEWEST_SAMPLES
from minadv.diagnosis.finding import Finding
from minadv.diagnosis.subject import Subject

# which share of the samples beyond each label's first is taken for one class, where labels are said to be renamed
CONSISTENT, FEWEST_MORE = 0.8, 4


def accuracy(subject: Subject) -> tuple[Finding, ...]:
    """Find an accuracy on clean samples that guessing explains, or below a half."""
    samples = subject.select(subject.finite)
    count, right, classes = len(samples), int(samples.correct.sum()), samples.clean.shape[1]
    if not count:
        return ()
    # by guessing, n/k ± √(n·(1/k)·(1 − 1/k)) of n samples in k classes are correct
    guessed = right <= count / classes + (count * (classes - 1)) ** 0.5 / classes
    if 2 * right >= count and not (guessed and count >= FEWEST_SAMPLES):
        return ()
    how = f"no more than by guessing among {classes} classes" if guessed else "fewer than half"
    return (
        Finding(
            check="accuracy",
            severity="problem" if guessed and count >= FEWEST_SAMPLES else "warning",
            model=subject.name,
            seen="; ".join([f"{right} of {count} samples are classified correctly, {how}", *_hints(samples)]),
            matters="Attacks start from correctly classified samples, others count as successes at distance 0: "
            "success rates and medians say little of robustness. Such a model is usually not trained, or its "
            "classes or inputs are not those of the data.",
            remedy="Compare the order of the classes, the range of the values, the channels and the normalisation "
            "with those of the training; normalisation belongs into the model, as inputs are in [0, 1].",
        ),
    )


def _hints(samples: Subject) -> list[str]:
    """Say what the predictions and the images show of the reason."""
    hints: list[str] = []
    predicted = samples.clean.argmax(dim=1)
    if len(samples) > 1 and (predicted == predicted[0]).all():
        hints.append(f"all are taken for class {int(predicted[0])}")
    elif others := _renamed(samples.labels, predicted):
        shown = ", ".join(f"{label} for {other}" for label, other in list(others.items())[:3])
        hints.append(f"labels are mostly taken for one other each ({shown}): the classes may be in another order")
    largest = samples.inputs.max().item()
    if largest < (DARKEST + 1) / 255:
        hints.append(f"no value of the images is above {largest:.3g}, where 1 is white")
    return hints


def _renamed(labels: Tensor, predicted: Tensor) -> dict[int, int]:
    """Return which class each label is taken for, where that is another one, and the same nearly always."""
    usual, agreeing, more = dict[int, int](), 0, 0
    for label in {int(label) for label in labels}:
        seen = predicted[labels == label]
        usual[label] = int(seen.mode().values)
        agreeing += int((seen == seen.mode().values).sum()) - 1
        more += len(seen) - 1
    others = {label: other for label, other in usual.items() if label != other}
    apart = len(set(usual.values())) == len(usual)
    return others if apart and more >= FEWEST_MORE and agreeing >= CONSISTENT * more else {}
