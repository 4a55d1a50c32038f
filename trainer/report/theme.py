"""How charts look, in light and in dark: two templates of plotly over the same figures."""

from __future__ import annotations

from typing import Any

__all__ = ["OTHER", "PALETTE", "SURFACES", "SYMBOLS", "WRONG", "theme_templates"]

# One palette for both themes: every colour keeps a contrast of 3:1 against white and against the dark surface. Where
# points or lines are drawn each has its own marker or dash as well.
PALETTE = (
    "#2B7BD4",
    "#D2691E",
    "#159A6B",
    "#8E63CE",
    "#CF4F94",
    "#1A94AE",
    "#8A8718",
    "#D6452B",
    "#A56F48",
    "#5F7FA8",
)
SYMBOLS = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "x",
    "triangle-left",
    "triangle-right",
    "star",
)
OTHER = "#808892"
WRONG = "#D6452B"

SURFACES = {
    "light": {"surface": "#ffffff", "ink": "#1b1f24", "muted": "#57606a", "line": "#dfe3e8"},
    "dark": {"surface": "#14171a", "ink": "#e6e9ec", "muted": "#a3acb7", "line": "#333a42"},
}
"""Colours of the page in either theme, as its style sheet and its charts use them."""

# From nothing, which is the page's surface, over the least there is, which can be told from it, to all.
_SCALES = {
    "light": ("#ffffff", "#dce9f7", "#9cc3ee", "#14508f"),
    "dark": ("#14171a", "#1b2f47", "#1d5796", "#9fcbff"),
}


def theme_templates() -> dict[str, dict[str, Any]]:
    """`light` and `dark` to the template that plotly lays below a figure."""
    return {theme: _template(theme) for theme in SURFACES}


def _template(theme: str) -> dict[str, Any]:
    colours = SURFACES[theme]
    axis = {
        "automargin": True,
        "gridcolor": colours["line"],
        "linecolor": colours["line"],
        "tickcolor": colours["line"],
        "tickfont": {"color": colours["muted"]},
        "title": {"font": {"color": colours["muted"], "size": 13}, "standoff": 10},
        "zeroline": False,
    }
    layout = {
        "colorway": list(PALETTE),
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": colours["ink"]},
        "hoverlabel": {
            "bgcolor": colours["surface"],
            "bordercolor": colours["line"],
            "font": {"color": colours["ink"]},
        },
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "modebar": {
            "orientation": "v",
            "bgcolor": "rgba(0,0,0,0)",
            "color": colours["muted"],
            "activecolor": colours["ink"],
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis,
        "yaxis": axis,
    }
    heatmap = {"type": "heatmap", "colorscale": list(zip((0, 0.001, 0.3, 1), _SCALES[theme], strict=True))}
    return {"layout": layout, "data": {"heatmap": [heatmap]}}
