"""The attacks of the ALMA paper's tables 4 to 15, by the names and with the settings of their rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from minadv.attacks.base import Attack

Data = Literal["mnist", "cifar10", "imagenet"]

# per distance: name of the row's attack, its name here, and its steps (one row each)
_ROWS: dict[str, tuple[tuple[str, str, tuple[int, ...]], ...]] = {
    "l1": (("EAD 9×{}", "ead", (100, 1000)), ("FAB ℓ1 {}", "fab", (100, 1000)), ("FMN ℓ1 {}", "fmn", (100, 1000))),
    "l2": (
        ("C&W ℓ2 9×{}", "cw", (1000, 10000)),
        ("DDN {}", "ddn", (100, 1000)),
        ("FAB ℓ2 {}", "fab", (100, 1000)),
        ("FMN ℓ2 {}", "fmn", (100, 1000)),
        ("APGD^T ℓ2", "minimal_apgd", (100,)),
    ),
    "ssim": (),
    "ciede2000": (("C&W CIEDE2000 9×{}", "cw", (1000,)), ("PerC-AL {}", "percal", (100, 1000))),
    "lpips": (("C&W LPIPS 9×{}", "cw", (1000,)), ("LPA", "lpa", (40,))),
}
SYMBOLS = {
    "l0": "ℓ0",
    "l1": "ℓ1",
    "l2": "ℓ2",
    "linf": "ℓ∞",
    "ssim": "SSIM",
    "ciede2000": "CIEDE2000",
    "lpips": "LPIPS",
}


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, and what the attack's `paper` is called with."""

    label: str
    attack: str
    distance: str
    steps: int
    settings: Mapping[str, Any]

    def build(self, **others: Any) -> Attack:
        """Return the attack.

        Args:
            **others: further hyper-parameters, e.g. budget or seed.
        """
        from minadv import attacks

        return attacks.find(self.attack).paper(self.distance, self.steps, **{**self.settings, **others})


def table(distance: str, data: Data = "cifar10") -> tuple[Row, ...]:
    """Return the rows of the table for a distance and a data set, without building any attack.

    Args:
        distance: "l1", "l2", "ssim", "ciede2000" or "lpips"; options may follow ("lpips:trunk=demo"). Without
            options, CIEDE2000 is on the paper's scale (but for PerC-AL, see its `paper`) and LPIPS without learned
            weights.
        data: whose radii APGD^T searches, and whether FAB is FAB^T ("imagenet").

    Raises:
        ValueError: for a distance that has no table.
    """
    family = distance.partition(":")[0]
    if family not in _ROWS:
        raise ValueError(f"the paper has tables for {', '.join(_ROWS)}, got {distance!r}")
    found: list[Row] = []
    for label, name, all_steps in (*_ROWS[family], (f"ALMA {SYMBOLS[family]} {{}}", "alma", (100, 1000))):
        settings: dict[str, Any] = {"data": data} if name == "minimal_apgd" else {}
        row = label
        if name == "fab" and data == "imagenet":
            row, settings = label.replace("FAB", "FAB^T"), {"n_targets": 9}
        found += [Row(row.format(steps), name, distance, steps, settings) for steps in all_steps]
    return tuple(found)


def rows(distance: str, data: Data = "cifar10", **others: Any) -> dict[str, Attack]:
    """Return the attacks of the table for a distance and a data set, by row: see `table`.

    Args:
        distance: of the table.
        data: of the table.
        **others: further hyper-parameters of all of them, e.g. budget or seed.

    Raises:
        ValueError: for a table that the paper has not, or a hyper-parameter that one of them has not.
    """
    return {row.label: row.build(**others) for row in table(distance, data)}
