"""A finished run whose every number is chosen, for tests of what is stored and shown."""

import polars as pl
import torch

from minadv.run_folder import COLUMNS, Configuration, Environment, Run

INF = float("inf")
STATUS = ("found", "found", "already adversarial", "not found", "non-finite", "found")
DISTANCES = (0.5, 0.25, 0.0, INF, INF, 1.0)


def configuration(**changes: object) -> Configuration:
    settings = {"distance": "l2", "levels": None, "budget": None, "steps": 7, "penalty": "P2"}
    facts = {
        "version": "9.8.7",
        "model": "python:a.b:c",
        "data": "npz:images.npz",
        "attack": "ALMA",
        "settings": settings,
        "distance": "l2",
        "confidence": 1e-4,
        "target": None,
        "classes": ("cat", "dog"),
        "dtype": "float32",
        "device": "cpu",
        "batch_size": None,
        "command": ("minadv", "attack", "--out", "a folder"),
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": 61.0,
        "environment": Environment(python="3.11", torch="2", platform="Linux", cpus=2, threads=2),
    }
    return Configuration.model_validate(facts | changes)


def run(channels: int = 3, side: int = 12, **changes: object) -> Run:
    count = len(STATUS)
    g = torch.Generator().manual_seed(0)
    originals = torch.rand(count, channels, side, side, generator=g)
    adversarials = originals.clone()
    for row, status in enumerate(STATUS):
        if status == "found":
            noise = torch.randn(originals[row].shape, generator=g)
            adversarials[row] = (originals[row] + 0.01 * noise).clamp(0, 1)
    success = [distance < INF for distance in DISTANCES]
    rows = {
        "sample": [10, 11, 12, 13, 14, 15],
        "label": [0, 1, 0, 1, 0, 1],
        "clean_prediction": [0, 1, 1, 1, 0, 1],
        "adversarial_prediction": [1, 0, 1, 1, 0, 7],
        "status": STATUS,
        "success": success,
        "distance": DISTANCES,
        "forwards": [10, 20, 1, 10, 10, 9],
        "backwards": [10, 20, 0, 10, 10, 10],
        "margin": [-0.1, -0.1, -1.0, 0.5, 0.5, -0.1],
        "survives_8bit": [True, False, True, None, None, True],
        "l1": [5.0, 2.5, 0.0, INF, INF, 10.0],
    }
    results = pl.DataFrame(rows, schema=COLUMNS | {"l1": pl.Float64})
    return Run(configuration(**changes), results, adversarials, originals)
