"""Train the demo network on the embedded photographs and write its weights.

    python scripts/train_demo.py [--out src/minadv/models/demo.safetensors] [--epochs 16] [--seed 0]

One thread and one seed: on one machine it writes the same file each time, in about two minutes.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from minadv import data, files
from minadv.models.architectures.demo import DemoNet

OUT = Path(__file__).resolve().parent.parent / "src" / "minadv" / "models" / "demo.safetensors"
BATCH = 128
RATE = 4e-3


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images and vary contrast, brightness and a little noise."""
    draw = torch.rand(3, len(images), 1, 1, 1, generator=generator)
    mirrored = torch.where(draw[0] < 0.5, images.flip(3), images)
    noise = 0.03 * torch.randn(images.shape, generator=generator)
    return (mirrored * (0.9 + 0.2 * draw[1]) + 0.1 * (draw[2] - 0.5) + noise).clamp(0, 1)


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int, generator: torch.Generator) -> None:
    """Train in place with AdamW, one cycle of the learning rate and softened labels."""
    steps = len(images) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)[: steps * BATCH]
        total = 0.0
        for rows in torch.split(order, BATCH):
            loss = criterion(network(augmented(images[rows], generator)), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}/{epochs}: loss {total / steps:.3f}", flush=True)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images that the network gets right."""
    return (network(images).argmax(1) == labels).float().mean().item()


def main() -> None:
    """Train, report, write."""
    parser = argparse.ArgumentParser(description="Train the demo network and write its weights.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)

    train_set, test_set = data.load("demo:train").tensors(), data.load("demo").tensors()
    network = DemoNet()
    train(network, *train_set, options.epochs, torch.Generator().manual_seed(options.seed))
    network.eval()
    print(f"train: {len(train_set[1])} patches, accuracy {accuracy(network, *train_set):.4f}")
    print(f"test:  {len(test_set[1])} patches, accuracy {accuracy(network, *test_set):.4f}")
    files.save(options.out, network.state_dict())
    print(f"wrote {options.out} ({options.out.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
