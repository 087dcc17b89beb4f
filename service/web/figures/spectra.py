"""Singular values of the end-to-end map against step, as the square roots of the AGOP's eigenvalues."""

from typing import Any

import altair as alt
import polars as pl

from service.web.figures.style import hue, styled


def spectra(series: pl.DataFrame, *, title: str = "", layer: int = 1) -> Any:
    """One line per index, largest first, of one trial.

    Args:
        series: columns step and agop_singular_value@I for each index I.
        title: of the figure.
        layer: whose AGOP.
    Raises:
        ValueError: when no singular values are among the columns.
    """
    names = [name for name in series.columns if name.startswith("agop_singular_value@")]
    if not names:
        raise ValueError("no agop_singular_value@i was measured: name them under measure.metrics")
    frame = (
        series.select("step", *names)
        .unpivot(index="step", variable_name="name", value_name="value")
        .select(
            (pl.col("step") + 1).alias("x"),
            pl.when(pl.col("value") > 0).then(pl.col("value")).alias("value"),
            pl.col("name").str.strip_prefix("agop_singular_value@").alias("color"),
        )
    )
    axis = alt.Axis(format="~s", values=[10**power for power in range(10)])
    x = alt.X("x:Q", title="step + 1", scale=alt.Scale(type="log", nice=False), axis=axis)
    y = alt.Y("value:Q", title=f"singular value of the Jacobian, layer {layer}", scale=alt.Scale(type="log"))
    base: Any = alt.Chart(alt.Data(values=frame.to_dicts()))
    chart = base.mark_line(strokeWidth=1.8, invalid="break-paths-filter-domains").encode(
        x=x, y=y, color=hue(frame, "index i")
    )
    return styled(
        chart.properties(width=360, height=240), title or "Spectrum", "1 seed, square roots of AGOP eigenvalues"
    )
