"""A sweep as one page for a browser: ranking, parallel coordinates, curves; no network needed."""

import json
from importlib.resources import files
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from jaxmlp.sweeps.choosing import NO_BEST, Best
from jaxmlp.sweeps.ranking import figure, is_logarithmic, rows_of, varied
from jaxmlp.sweeps.space import TRIAL


def report(table: Any, title: str, best: Best | None) -> str:
    """The page as HTML.

    Args:
        table: of `sweep`.
        title: what was swept, on which data.
        best: of `best`, which is what the page begins with, if there is one.
    """
    rows = rows_of(table)
    objective = rows[0].objective
    tie = objective.names[objective.tie].replace("_", " ")
    names = {name: values for name, values in varied(rows).items() if name != TRIAL}
    data = {
        "title": title,
        "best": f"best: {best}" if best else NO_BEST,
        "tested": str(best.tested or "") if best else "",
        "metric": objective.spoken,
        "tie": None if objective.tie == objective.column else tie,
        "higher": objective.higher,
        "seeds": rows[0].seeds,
        "fields": [
            {
                "name": name.replace("_", " "),
                "logarithmic": is_logarithmic(values),
                "values": [_plain(value) for value in values],
            }
            for name, values in names.items()
        ],
        "settings": [
            {
                "values": [_plain(row.names[name]) for name in names],
                "score": _plain(figure(row, row.score)),
                "deviation": _plain(row.deviation),
                "tie": _plain(row.ties[-1]) if len(row.ties) else None,
                "curve": [_plain(value) for value in figure(row, row.scores)],
                "diverged": row.diverged,
            }
            for row in rows
        ],
    }
    page = files("jaxmlp.sweeps").joinpath("report.html").read_text(encoding="utf-8")
    encoded = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    head, rest = page.split("/*PLOTLY*/")
    return head + get_plotlyjs() + rest.replace("/*DATA*/", encoded)


def _plain(value: Any) -> Any:
    """A coordinate or a figure as JSON takes it: rounded, nothing for NaN."""
    if isinstance(value, (float, np.floating)):
        rounded = float(f"{value:.6g}")
        return rounded if np.isfinite(value) else None
    return value
