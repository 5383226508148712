"""Draws the dashboard from what Prometheus answers to its queries, laid out as Grafana would."""

import math
import time
from datetime import datetime

import matplotlib
from matplotlib import dates, ticker

import files

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

# Inches for each unit of Grafana's grid, and the gap around a panel.
WIDE, HIGH, GAP = 0.75, 0.36, 0.06
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#8ab8ff", "#37872d", "#fade2a"]
NAMED = {"green": "#73bf69", "red": "#f2495c", "yellow": "#f2cc0c", "blue": "#5794f2"}
BACK, PANEL, INK, FAINT = "#111217", "#181b1f", "#ccccdc", "#34373d"


def draw(prometheus, began, to):
    """Everything since `began`, in seconds since 1970."""
    ended = time.time()
    style = {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "font.size": 8}
    height = max(at["y"] + at["h"] for at in (panel["gridPos"] for panel in files.dashboard["panels"]))
    with pyplot.rc_context(style):
        figure = pyplot.figure(figsize=(24 * WIDE, height * HIGH), facecolor=BACK)
        for panel in files.dashboard["panels"]:
            axes = _place(figure, panel["gridPos"], height)
            if panel["type"] == "row":
                axes.set_axis_off()
                axes.text(0, 0.4, f"⌄ {panel['title']}", size=11, weight="bold", va="center")
            elif panel["type"] == "stat":
                _stat(axes, panel, prometheus)
            else:
                _curves(axes, panel, prometheus, began, ended)
        figure.savefig(to, dpi=70, facecolor=BACK)
    print(f"{to}: drawn")


def _place(figure, at, height):
    """Axes that fill a panel, less its title and its margins."""
    panel = at["h"] > 1
    left, right = (0.75, 0.15) if panel else (0.1, 0)
    top, bottom = (0.35, 0.65 if at["h"] > 4 else 0.1) if panel else (0, 0)
    x, y = at["x"] * WIDE, (height - at["y"] - at["h"]) * HIGH
    wide, high = at["w"] * WIDE, at["h"] * HIGH
    whole = figure.get_size_inches()
    if panel:
        figure.patches.append(
            pyplot.Rectangle(
                ((x + GAP) / whole[0], (y + GAP) / whole[1]),
                (wide - 2 * GAP) / whole[0],
                (high - 2 * GAP) / whole[1],
                transform=figure.transFigure,
                facecolor=PANEL,
                edgecolor=FAINT,
                zorder=-1,
            )
        )
    box = ((x + left) / whole[0], (y + bottom) / whole[1])
    return figure.add_axes((*box, (wide - left - right) / whole[0], (high - top - bottom) / whole[1]))


def _stat(axes, panel, prometheus):
    axes.set_axis_off()
    axes.set_title(panel["title"], loc="left", size=9, weight="bold", x=-0.1)
    target = panel["targets"][0]
    series = prometheus.ask("query", query=files.concrete(target["expr"]))["result"]
    value = float(series[0]["value"][1])
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    by_name = panel["options"]["textMode"] == "name"
    text = _legend(target["legendFormat"], series[0]["metric"]) if by_name else _number(value, panel)
    axes.text(0.45, 0.45, text, size=16 if by_name else 24, color=NAMED[colour], ha="center", va="center")


def _curves(axes, panel, prometheus, began, ended):
    axes.set_facecolor(PANEL)
    axes.set_title(panel["title"], loc="left", size=9, weight="bold", x=-0.08)
    lines = []
    for target in panel["targets"]:
        answer = prometheus.ask(
            "query_range", query=files.concrete(target["expr"]), start=began, end=ended, step=1
        )
        lines += [(_legend(target["legendFormat"], one["metric"]), one["values"]) for one in answer["result"]]
    custom = panel["fieldConfig"]["defaults"]["custom"]
    floor = {}
    for index, (legend, points) in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        when = [datetime.fromtimestamp(float(at)) for at, _ in points]
        below = [floor.get(at, 0.0) for at, _ in points]
        here = [low + float(value) for low, (_, value) in zip(below, points, strict=True)]
        if custom["stacking"]["mode"] == "normal":
            floor |= {at: top for (at, _), top in zip(points, here, strict=True) if math.isfinite(top)}
        axes.plot(when, here, color=colour, linewidth=1.2, label=legend)
        axes.fill_between(when, below, here, color=colour, alpha=custom["fillOpacity"] / 100)
    _dress(axes, panel, began, ended, len(lines))


def _dress(axes, panel, began, ended, lines):
    axes.set_xlim(datetime.fromtimestamp(began), datetime.fromtimestamp(ended))
    axes.set_ylim(bottom=0)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: _number(value, panel))
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.1, -0.12), ncols=min(lines, 4), frameon=False, fontsize=7,
        handlelength=1.2, columnspacing=1,
    )


def _legend(template, labels):
    for label, value in labels.items():
        template = template.replace("{{" + label + "}}", value)
    return template


def _number(value, panel):
    """As Grafana writes it, in the panel's unit."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        for name, size in (("min", 60), ("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
            if value >= size:
                return f"{value / size:.3g} {name}"
        return "0 s"
    step, names = (1024, ["", "Ki", "Mi", "Gi"]) if unit == "bytes" else (1000, ["", "k", "M", "G"])
    power = 0
    # 1000 B is 0.977 KiB: three digits are enough.
    while value >= 999.5 and power < len(names) - 1:
        value, power = value / step, power + 1
    suffix = {"bytes": "B", "Bps": "B/s", "cps": "/s", "reqps": "/s"}.get(unit, "")
    return f"{value:.3g} {names[power]}{suffix}".strip()
