"""How close to the smallest perturbation that anything finds, for how many propagations.

    python -m benchmarks.frontier train       # small models, ten minutes on one core, twenty-five with MNIST
    python -m benchmarks.frontier run --targets mnist --distances l2 --attacks auto alma:steps=100,alpha=0.8
    python -m benchmarks.frontier table [--summary] [--markdown]

`run` goes on where it stopped, and everything that it ever ran counts for what is best known. Targets are the
demo model, what `train` wrote, and the public models of ../shared/data where they are. Groups of attacks: auto,
alma (our defaults and the paper's), peers, more (nested and targeted searches), long (ten times the budgets),
ablation (Auto without its parts). The distances `own` are none of the library's.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console

OUT = Path("runs/frontier")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.frontier",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(dest="part", required=True)
    train = parts.add_parser("train", help="train small models and write them")
    train.add_argument("--out", type=Path, help="folder; default $MINADV_FRONTIER_MODELS or runs/frontier/models")
    train.add_argument("--only", default="", help="part of a model's name")
    train.add_argument("--missing", action="store_true", help="leave those out that are there")
    run = parts.add_parser("run", help="run attacks on targets, what is missing of it")
    run.add_argument(
        "--targets", nargs="+", default=[], help="parts of names of models or data sets; default: all but large"
    )
    run.add_argument("--distances", nargs="+", help="default: all but LPIPS (lpips:trunk=demo) and own")
    run.add_argument("--budgets", nargs="+", type=int, default=[100, 1000])
    run.add_argument(
        "--attacks", nargs="+", default=["auto", "alma", "peers"], help="groups or NAME[.paper]:key=value,…"
    )
    run.add_argument("--samples", type=int, default=100, help="the first that a model classifies correctly")
    table = parts.add_parser("table", help="print what is stored")
    table.add_argument("--only", nargs="+", default=[], help="words of target and attack, e.g. 'mnist_kw l2'")
    table.add_argument("--budgets", nargs="+", type=int, default=[100, 1000], help="of Auto, in the summary")
    table.add_argument("--summary", action="store_true", help="Auto beside the paper's ALMA and the best peer")
    table.add_argument("--markdown", action="store_true")
    for part in (run, table):
        part.add_argument("--out", type=Path, default=OUT)
    for part in (train, run):
        part.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    try:
        act(arguments())
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted: finished shards are kept, the same command goes on") from None


def act(given: argparse.Namespace) -> None:
    # a table piped into a file is not cut
    console = Console(width=None if Console().is_terminal else 200, highlight=False)
    if given.part == "table":
        from benchmarks.frontier import table

        rows = table.stored(given.out, given.only)
        tables = (
            table.summary(rows, given.budgets) if given.summary else (*table.every(rows), *table.overall(rows))
        )
        for each in tables:
            print(each.markdown()) if given.markdown else console.print(each.rich())
        return
    torch.set_num_threads(given.threads)
    if given.part == "train":
        from benchmarks.frontier import models, train

        out = given.out or models.folder()
        recipes = tuple(recipe for recipe in train.RECIPES if given.only in recipe.name)
        if given.missing:
            recipes = tuple(recipe for recipe in recipes if not train.weights(out, recipe).exists())
        for line in train.made(out, recipes):
            console.print(line)
        return
    from benchmarks.frontier import run, suites
    from benchmarks.targets import SHARED

    chosen = suites.candidates(given.attacks, given.budgets)
    wanted = tuple(suites.suites(chosen, given.distances or suites.DISTANCES, given.targets, given.samples))
    if not wanted:
        raise ValueError("nothing to run: no target has such a name, or no attack minimises such a distance there")
    for ran in run.run(wanted, given.out, (SHARED,), console):
        run.say(ran, console)


if __name__ == "__main__":
    main()
