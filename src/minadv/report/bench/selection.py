"""Which samples the gallery shows, and which attacks beside one another."""

import polars as pl

from minadv.result import Status

KINDS = {"easy": 0.1, "typical": 0.5, "hard": 0.9}
MOST = 6  # attacks beside one another


def choose(rows: pl.DataFrame, cells: pl.DataFrame) -> dict[tuple[str, str], dict[str, int]]:
    """Return an easy, a typical and a hard sample of each (data, model).

    Samples are ordered by their median rank over attacks, since distances of different kinds do not compare.
    Those that most attacks did are considered, without those that were wrong from the start.
    """
    ranked = (
        rows.lazy()
        .filter(pl.col("attacked") & (pl.col("clean_prediction") == pl.col("label")))
        .select("entry", "sample", place=pl.col("value").rank("average").over("entry"))
        .join(cells.lazy().select("entry", "data", "model"), on="entry", maintain_order="left")
        .group_by("data", "model", "sample", maintain_order=True)
        .agg(pl.col("place").median(), attacks=pl.len())
        .filter(pl.col("attacks") == pl.col("attacks").max().over("data", "model"))
        .sort("place", "sample")
        .group_by("data", "model")
        .agg("sample")
        .collect()
    )
    samples = {(data, model): found for data, model, found in ranked.iter_rows()}
    chosen: dict[tuple[str, str], dict[str, int]] = {}
    for key in cells.select("data", "model").unique(maintain_order=True).iter_rows():
        if key in samples:
            last = len(samples[key]) - 1
            picked = {kind: samples[key][round(share * last)] for kind, share in KINDS.items()}
            chosen[key] = {kind: picked[kind] for kind in _apart(picked)}
    return chosen


def _apart(picked: dict[str, int]) -> list[str]:
    """Kinds whose samples differ; the typical one stays."""
    seen: dict[int, str] = {}
    for kind in ("typical", "easy", "hard"):
        seen.setdefault(picked[kind], kind)
    return list(seen.values())


def found(
    rows: pl.DataFrame, cells: pl.DataFrame, chosen: dict[tuple[str, str], dict[str, int]]
) -> dict[tuple[str, str, int], pl.DataFrame]:
    """Return what was found for the chosen samples, each by (data, model, sample)."""
    keys = [(*key, sample) for key, samples in chosen.items() for sample in samples.values()]
    schema = {"data": pl.String, "model": pl.String, "sample": pl.Int64}
    wanted = pl.DataFrame(keys, schema=schema, orient="row")
    labels = cells.select("entry", "data", "model", "compared_by")
    kept = (
        rows.filter(pl.col("sample").is_in(wanted["sample"].unique().implode()))
        .filter(pl.col("status") == Status.FOUND.value)
        .join(labels, on="entry", maintain_order="left")
        .join(wanted, on=list(schema), how="semi")
    )
    parts = kept.partition_by(*schema, maintain_order=True)
    return {(part["data"][0], part["model"][0], part["sample"][0]): part for part in parts}


def beside(rows: pl.DataFrame | None) -> list[dict[str, object]]:
    """Return what is shown of a sample: the best attack for each distance, then the next best, up to `MOST`."""
    if rows is None:
        return []
    ranked = rows.with_columns(turn=pl.col("value").rank("ordinal").over("compared_by"))
    order = list(dict.fromkeys(rows["compared_by"].to_list()))
    listed = sorted(ranked.iter_rows(named=True), key=lambda row: (row["turn"], order.index(row["compared_by"])))
    first = listed[: max(MOST, len(order))]
    return sorted(first, key=lambda row: (order.index(row["compared_by"]), row["turn"]))
