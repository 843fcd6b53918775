"""The data sets with a name, as plain facts: importing this imports neither torch nor any data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """A line of `minadv list data`: what to write and what it gives."""

    spec: str
    summary: str


TORCHVISION = {
    "mnist": "MNIST test set, 10,000 × 28×28 grey",
    "fashionmnist": "Fashion-MNIST test set, 10,000 × 28×28 grey",
    "cifar10": "CIFAR-10 test set, 10,000 × 32×32 colour",
    "cifar100": "CIFAR-100 test set, 10,000 × 32×32 colour",
    "svhn": "Street View House Numbers test set, 26,032 × 32×32 colour (needs scipy)",
}

EMBEDDED = (
    Description("demo", "32×32 patches of ten photographs inside scikit-image and scikit-learn, test regions"),
    Description("demo:train", "the same photographs, training regions"),
)
OWN = (
    Description("npz:PATH", "a NumPy archive: images (n, height, width[, channels]) and labels (n,)"),
    Description("pt:PATH", "a dictionary of the same as tensors, as torch saves them (nothing in it is run)"),
    Description("folder:PATH[?size=224&mode=L]", "image files in one sub-folder per class"),
)


def describe() -> tuple[Description, ...]:
    """Describe every kind of data spec."""
    downloads = tuple(Description(f"torchvision:{name}", summary) for name, summary in TORCHVISION.items())
    return EMBEDDED + OWN + downloads


def names() -> tuple[str, ...]:
    """List every data spec; upper-case parts are to be filled in."""
    return tuple(description.spec for description in describe())
