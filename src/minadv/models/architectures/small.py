"""The small networks of the MNIST and CIFAR-10 models, under the tensor names of their published weights."""

from collections import OrderedDict

from torch import nn


def named(**layers: nn.Module) -> nn.Sequential:
    """Put layers in a row under names of their own."""
    return nn.Sequential(OrderedDict(layers))


def lenet5() -> nn.Module:
    """Build advertorch's MNIST network: two padded convolutions with max-pooling, two linear layers."""
    return named(
        conv1=nn.Conv2d(1, 32, 3, padding=1),
        relu1=nn.ReLU(),
        maxpool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(32, 64, 3, padding=1),
        relu2=nn.ReLU(),
        maxpool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        linear1=nn.Linear(7 * 7 * 64, 200),
        relu3=nn.ReLU(),
        linear2=nn.Linear(200, 10),
    )


def strided(channels: int, flat: int) -> nn.Module:
    """Build a network of the verification literature: two strided convolutions, two linear layers."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def mnist_convex() -> nn.Module:
    """Build the small network of Wong & Kolter for 28×28 grey images."""
    return strided(1, 7 * 7 * 32)


def cifar_cnn_a() -> nn.Module:
    """Build CNN-A of the verification benchmarks for 32×32 colour images."""
    return strided(3, 8 * 8 * 32)


def smallcnn() -> nn.Module:
    """Build SmallCNN of TRADES: four convolutions, three linear layers, for 28×28 grey images."""
    features = named(
        conv1=nn.Conv2d(1, 32, 3),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(32, 32, 3),
        relu2=nn.ReLU(),
        maxpool1=nn.MaxPool2d(2),
        conv3=nn.Conv2d(32, 64, 3),
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(64, 64, 3),
        relu4=nn.ReLU(),
        maxpool2=nn.MaxPool2d(2),
    )
    classifier = named(
        fc1=nn.Linear(64 * 4 * 4, 200),
        relu1=nn.ReLU(),
        drop=nn.Dropout(0.5),
        fc2=nn.Linear(200, 200),
        relu2=nn.ReLU(),
        fc3=nn.Linear(200, 10),
    )
    return named(
        feature_extractor=features,
        flatten=nn.Flatten(),
        classifier=classifier,
    )


def crown_ibp_large() -> nn.Module:
    """Build the large network of CROWN-IBP (Zhang et al., 2020) for 28×28 grey images."""
    widths = [(1, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 128, 1)]
    convolutions = [
        layer
        for before, after, stride in widths
        for layer in (nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.ReLU())
    ]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(14 * 14 * 128, 512), nn.ReLU(), nn.Linear(512, 10))
