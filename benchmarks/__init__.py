"""Measurements, run from the root of the repository: `python -m benchmarks.NAME`; --help lists options.

    speed       what speed costs and saves: `make bench`
    parity      our attacks beside those of other packages: `make parity`
    frontier    how close to the smallest perturbation that anything finds: `make frontier`
    targets     ALMA with the paper's settings on public models
    precision   what mixed precision and channels-last images change
    trust       whether answers can be believed, ours and other packages'

All other modules are parts of these. NOTES.md has what was tried.
"""
