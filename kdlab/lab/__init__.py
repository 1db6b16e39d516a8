"""What a lesson shows: figures, explorables that answer within a frame, and kernel labs that train."""

from kdlab.lab.charts import (
    compare_points,
    interval_chart,
    line_panels,
    null_distribution,
    reliability_diagram,
    soft_label_gallery,
)
from kdlab.lab.explorable import temperature_explorable
from kdlab.lab.figures import temperature_figure
from kdlab.lab.kernel_lab import DistillationLab
from kdlab.lab.show import show
from kdlab.lab.theme import COLORS, GREY, INK, SERIES, new_figure

__all__ = [
    "COLORS",
    "GREY",
    "INK",
    "SERIES",
    "DistillationLab",
    "compare_points",
    "interval_chart",
    "line_panels",
    "new_figure",
    "null_distribution",
    "reliability_diagram",
    "show",
    "soft_label_gallery",
    "temperature_explorable",
    "temperature_figure",
]
