"""How distances are written in reports and on the terminal."""

from minadv.attacks.tables import SYMBOLS

# what is printed of a distance, which for SSIM is how far it is below 1
PRINTED = SYMBOLS | {
    "ssim": "1 − SSIM",
    "ciede2000_paper": "CIEDE2000 (paper's scale)",
    "ciede2000[paper]": "CIEDE2000 (paper's scale)",
    "lpips_paper": "LPIPS (paper's)",
}


def symbol(distance: str) -> str:
    """Return how a distance is written, e.g. ℓ2; labels that have no symbol are their own."""
    name, bracket, options = distance.partition("[")
    return PRINTED.get(distance) or PRINTED.get(name, name) + bracket + options
