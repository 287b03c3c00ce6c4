"""A roofline plot (Williams, Waterman & Patterson 2009): what each op reached, under what the machine can reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

from albert_fast.errors import InvalidInputError, MissingDependencyError
from bench.machine import Limits
from bench.report import show

FORMATS = (".svg", ".png")
_SHAPES = "osD^vPX*h"
_INCHES = (8.5, 6.0)  # of a panel
_MARK_POINTS = 6.0
_LABEL_POINTS = 6.5
_RADII = (1.0, 1.8, 2.8, 4.0)  # of the rings on which a label is tried, in heights of its text
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_MARGIN = 3.0  # around all points and the ridge, as a factor of each axis


@dataclass(frozen=True)
class Mark:
    """One op on one shape."""

    op: str
    label: str
    intensity: float  # operations per byte
    rate: float  # operations a second


@dataclass
class Panel:
    """The marks of one table under the limits of its device."""

    title: str
    limits: Limits
    unit: tuple[str, float]  # of rates: its name and how many operations a second it is
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True)
class Box:
    """A rectangle, by its center."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        across = (self.width + other.width) / 2 - abs(self.x - other.x)
        along = (self.height + other.height) / 2 - abs(self.y - other.y)
        return max(0.0, min(across, self.width, other.width)) * max(0.0, min(along, self.height, other.height))


def check(path: Path) -> None:
    """``InvalidInputError`` or ``MissingDependencyError`` if no plot can be drawn, before minutes go into measuring."""
    if path.suffix not in FORMATS:
        raise InvalidInputError(f"plot: got {str(path)!r}, expected a file that ends in {' or '.join(FORMATS)}")
    _matplotlib()


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """All panels, one below the other; SVG keeps its text as text."""
    matplotlib = _matplotlib()
    width, height = _INCHES
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "roofline"}):
        figure = matplotlib.figure.Figure((width, height * len(panels)), layout="constrained")
        for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
            _draw_limits(axes, panel)
            _draw_marks(axes, panel)
        figure.draw_without_rendering()  # settles the layout, so that labels know where they are
        figure.set_layout_engine("none")
        for axes, panel in zip(figure.axes, panels, strict=True):
            _draw_labels(axes, panel)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _matplotlib() -> Any:
    try:
        import matplotlib.figure
    except ImportError as error:
        raise MissingDependencyError("plot: needs matplotlib: pip install 'albert_fast[bench]'") from error
    return matplotlib


def _draw_limits(axes: Any, panel: Panel) -> None:
    limits, (unit, scale) = panel.limits, panel.unit
    ridge = limits.flops / limits.bandwidth
    intensities = [ridge, *(mark.intensity for mark in panel.marks)]
    rates = [limits.flops, *(mark.rate for mark in panel.marks)]
    left, right = min(intensities) / _MARGIN, max(intensities) * _MARGIN
    roof = [(left, left * limits.bandwidth), (ridge, limits.flops), (right, limits.flops)]
    measured = f"measured limits: {show(limits.flops / scale)} {unit}, {show(limits.bandwidth / 1e9)} GB/s"
    axes.plot([x for x, _ in roof], [y / scale for _, y in roof], color="black", linewidth=1, label=measured)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(left, right),
        ylim=(min(rates) / _MARGIN / scale, max(rates) * _MARGIN / scale),
        xlabel="FLOP / byte, every operand once",
        ylabel=unit,
        title=panel.title,
    )
    axes.grid(which="major", alpha=0.3)


def _draw_marks(axes: Any, panel: Panel) -> None:
    """One series for each op, which the legend names."""
    for number, op in enumerate(_series(panel)):
        marks = [mark for mark in panel.marks if mark.op == op]
        points = [m.intensity for m in marks], [m.rate / panel.unit[1] for m in marks]
        style = {"marker": _SHAPES[number % len(_SHAPES)], "markersize": _MARK_POINTS, "alpha": 0.8}
        axes.plot(*points, color=f"C{number}", linestyle="none", label=op, **style)
    axes.legend(fontsize=8, loc="lower right")


def _series(panel: Panel) -> list[str]:
    """The ops, in the order of their numbers and colors."""
    return list(dict.fromkeys(mark.op for mark in panel.marks))


def _draw_labels(axes: Any, panel: Panel) -> None:
    """T, or batch x length, beside each mark, where it covers least; a line leads to those that had to go far."""
    pixels = axes.figure.dpi / 72
    anchors = axes.transData.transform([(m.intensity, m.rate / panel.unit[1]) for m in panel.marks])
    height = 1.3 * _LABEL_POINTS * pixels
    sizes = [(pixels * (2 + 0.62 * _LABEL_POINTS * len(mark.label)), height) for mark in panel.marks]
    legend = axes.get_legend().get_window_extent()
    taken = [Box((legend.x0 + legend.x1) / 2, (legend.y0 + legend.y1) / 2, legend.width, legend.height)]
    ops = _series(panel)
    boxes = place(anchors, sizes, _MARK_POINTS * pixels, taken)
    for mark, (x, y), box in zip(panel.marks, anchors, boxes, strict=True):
        offset = (box.x - x) / pixels, (box.y - y) / pixels
        far = max(map(abs, offset)) > _RADII[1] * height / pixels
        axes.annotate(
            mark.label,
            (mark.intensity, mark.rate / panel.unit[1]),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_LABEL_POINTS,
            color=f"C{ops.index(mark.op)}",
            arrowprops={"arrowstyle": "-", "linewidth": 0.3, "color": "gray"} if far else None,
        )


def place(
    anchors: Iterable[Sequence[float]], sizes: Sequence[tuple[float, float]], mark: float, taken: Sequence[Box] = ()
) -> list[Box]:
    """Where labels of these sizes go, each near its anchor: the first place that covers no mark and no earlier label,
    nor what is taken, or else the one that covers least. ``mark`` is the width of a mark."""
    marks = [Box(x, y, mark, mark) for x, y in anchors]
    placed: list[Box] = []
    for anchor, (width, height) in zip(marks, sizes, strict=True):
        best, least = anchor, inf
        for radius, (across, along) in product(_RADII, _DIRECTIONS):
            x = anchor.x + across * ((width + mark) / 2 + (radius - 1) * height)
            box = Box(x, anchor.y + along * radius * height, width, height)
            covered = sum(box.overlap(other) for other in (*marks, *placed, *taken))
            if covered < least:
                best, least = box, covered
            if covered == 0:
                break
        placed.append(best)
    return placed
