"""The models with a name, as plain facts: importing this does not import torch."""

from dataclasses import dataclass

Triple = tuple[float, float, float]

ZENODO = "ALMA_models_data.zip of https://zenodo.org/records/6549010"
MADRY = "https://github.com/MadryLab/robustness (pretrained ImageNet models)"
SHARED = "the project's ../shared/data"
ADVERTORCH = f"{SHARED} (originally https://github.com/BorealisAI/advertorch)"
RESNET4B = f"{SHARED} (originally https://github.com/stanleybak/vnncomp2021, benchmarks/cifar10_resnet)"
CNN_A = f"{SHARED} (originally of a verification benchmark)"
CONVEX = f"{SHARED} (originally trained with https://github.com/locuslab/convex_adversarial)"

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
# RobustBench's Augustin2020Adversarial carries its constants in full
AUGUSTIN_MEAN = (0.4913997551666284, 0.48215855929893703, 0.4465309133731618)
AUGUSTIN_STD = (0.24703225141799082, 0.24348516474564, 0.26158783926049628)


@dataclass(frozen=True)
class Entry:
    """A trained model: its architecture, its normalisation, and where its weights come from.

    Attributes:
        architecture: a key of `architectures.BUILDERS`.
        training: how it was trained.
        files: names under which its weights are looked for.
        source: where to get them officially.
        mean: per channel, None when the network takes inputs as they are.
        std: likewise.
        robustbench: its name there.
        sha256: of `files[0]`, or how it begins, as far as the source publishes it; None where it publishes none.
    """

    architecture: str
    training: str
    files: tuple[str, ...]
    source: str
    mean: Triple | None = None
    std: Triple | None = None
    robustbench: str | None = None
    sha256: str | None = None


def _drive(identity: str) -> str:
    return f"https://drive.google.com/uc?id={identity} (RobustBench)"


ENTRIES: dict[str, Entry] = {
    "mnist_lenet5_std": Entry(
        "lenet5",
        "plain",
        ("mnist_lenet5_std.safetensors",),
        ADVERTORCH,
        sha256="1414adc7c56b50edc51ebe1e8c62d8af2290600bc368c7964c2ba4eba295b220",
    ),
    "mnist_lenet5_linf_at": Entry(
        "lenet5",
        "l∞ adversarial, eps 0.3",
        ("mnist_lenet5_linf_at.safetensors",),
        ADVERTORCH,
        sha256="be56397c84df419b8a8d845cb02e1a1111e437a8e71e0f66030f7c4a1df11037",
    ),
    "mnist_kw": Entry(
        "mnist_convex",
        "provable (convex)",
        ("mnist_kw.safetensors",),
        CONVEX,
        sha256="a3f730ab1291a5d583ad486043932cca221e8fbfaf727335b3e597f61c05e3ea",
    ),
    "mnist_smallcnn": Entry("smallcnn", "plain", ("mnist_regular.pth",), ZENODO),
    "mnist_smallcnn_ddn": Entry("smallcnn", "l2 adversarial (DDN)", ("mnist_robust_ddn.pth",), ZENODO),
    "mnist_smallcnn_trades": Entry("smallcnn", "l∞ TRADES", ("mnist_robust_trades.pt",), ZENODO),
    "mnist_crown_ibp": Entry("crown_ibp_large", "provable (CROWN-IBP)", ("IBP_large_best.pth",), ZENODO),
    "cifar_resnet4b": Entry(
        "resnet4b",
        "l∞ adversarial, eps 2/255",
        ("cifar_resnet4b.safetensors",),
        RESNET4B,
        CIFAR_MEAN,
        CIFAR_STD,
        sha256="ee8b4298565c16429bb36f18d2741aa53739b5dc85e12d1a8760bbf8b493326a",
    ),
    "cifar_cnn_a_adv": Entry(
        "cifar_cnn_a",
        "l∞ adversarial, eps 2/255",
        ("cifar_cnn_a_adv.safetensors",),
        CNN_A,
        CIFAR_MEAN,
        CIFAR_STD,
        sha256="aa85b9e479af267aedcd44a818b7f1188c8fffdf2506d96cd88d0d7e631cf6a7",
    ),
    "cifar_wrn28_10": Entry(
        "wrn28_10",
        "plain",
        ("cifar10/Linf/Standard.pt", "cifar10/L2/Standard.pt", "Standard.pt"),
        _drive("1t98aEuzeTL8P7Kpd5DIrCoCL21BNZUhC"),
        robustbench="Standard",
    ),
    "cifar_carmon2019": Entry(
        "wrn28_10",
        "l∞ adversarial with unlabelled data",
        ("cifar10/Linf/Carmon2019Unlabeled.pt", "Carmon2019Unlabeled.pt"),
        _drive("15tUx-gkZMYx7BfEOw1GY5OKC-jECIsPQ"),
        robustbench="Carmon2019Unlabeled",
    ),
    "cifar_augustin2020": Entry(
        "cifar_resnet50",
        "l2 adversarial, in and out of distribution",
        ("cifar10/L2/Augustin2020Adversarial.pt", "Augustin2020Adversarial.pt"),
        _drive("1oDghrzNfkStC2wr5Fq8T896yNV4wVG4d"),
        AUGUSTIN_MEAN,
        AUGUSTIN_STD,
        robustbench="Augustin2020Adversarial",
    ),
    "imagenet_resnet50": Entry(
        "resnet50",
        "plain (torchvision IMAGENET1K_V1)",
        ("resnet50-0676ba61.pth",),
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        IMAGENET_MEAN,
        IMAGENET_STD,
        sha256="0676ba61",
    ),
    "imagenet_resnet50_l2_3": Entry(
        "resnet50",
        "l2 adversarial, eps 3",
        ("imagenet_l2_3_0.pt",),
        f"{ZENODO}, or {MADRY}",
        IMAGENET_MEAN,
        IMAGENET_STD,
    ),
    "imagenet_resnet50_linf_4": Entry(
        "resnet50",
        "l∞ adversarial, eps 4/255",
        ("imagenet_linf_4.pt",),
        f"{ZENODO}, or {MADRY}",
        IMAGENET_MEAN,
        IMAGENET_STD,
    ),
}


def spelt(name: str) -> str:
    """Return a name as the zoo spells it: in lower case, with underscores."""
    return name.lower().replace("-", "_")


ROBUSTBENCH = {entry.robustbench: name for name, entry in ENTRIES.items() if entry.robustbench}
