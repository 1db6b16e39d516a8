"""What a lesson shows: figures, explorables that answer within a frame, and kernel labs that train."""

from kdlab.lab.charts import (
    compare_points,
    interval_chart,
    line_panels,
    null_distribution,
    ratio_bars,
    reliability_diagram,
    soft_label_gallery,
)
from kdlab.lab.course_map import course_map, course_map_alt
from kdlab.lab.explorable import temperature_explorable
from kdlab.lab.figures import temperature_figure
from kdlab.lab.kernel_lab import DistillationLab
from kdlab.lab.show import show
from kdlab.lab.theme import COLORS, GREY, INK, SERIES, new_figure
from kdlab.lab.width import WIDTHS, width_explorable, width_figure

__all__ = [
    "COLORS",
    "GREY",
    "INK",
    "SERIES",
    "WIDTHS",
    "DistillationLab",
    "compare_points",
    "course_map",
    "course_map_alt",
    "interval_chart",
    "line_panels",
    "new_figure",
    "null_distribution",
    "ratio_bars",
    "reliability_diagram",
    "show",
    "soft_label_gallery",
    "temperature_explorable",
    "temperature_figure",
    "width_explorable",
    "width_figure",
]
