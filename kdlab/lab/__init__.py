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
from kdlab.lab.descent import descent_path
from kdlab.lab.descent_panel import descent_explorable, descent_figure
from kdlab.lab.explorable import temperature_explorable
from kdlab.lab.features_panel import features_explorable, features_figure
from kdlab.lab.figures import temperature_figure
from kdlab.lab.forest import forest_chart
from kdlab.lab.heat_map import heat_map
from kdlab.lab.kernel_lab import DistillationLab
from kdlab.lab.loss_charts import fitted_curves, property_matrix
from kdlab.lab.loss_figure import loss_figure
from kdlab.lab.loss_panel import ALPHAS, loss_explorable
from kdlab.lab.matrices import matrix_row
from kdlab.lab.pair_chart import pair_panels
from kdlab.lab.playground import PlaygroundSetting, playground_data, playground_run, playground_teacher
from kdlab.lab.playground_panel import playground_explorable, playground_figure
from kdlab.lab.pruning_panel import SPARSITIES, pruning_explorable, pruning_figure
from kdlab.lab.rank_panel import rank_explorable, rank_figure
from kdlab.lab.seeds_panel import seeds_explorable, seeds_figure
from kdlab.lab.show import show
from kdlab.lab.sweep_lab import SweepLab
from kdlab.lab.theme import COLORS, GREY, INK, SERIES, new_figure
from kdlab.lab.width import WIDTHS, width_explorable, width_figure

__all__ = [
    "ALPHAS",
    "COLORS",
    "GREY",
    "INK",
    "SERIES",
    "SPARSITIES",
    "WIDTHS",
    "DistillationLab",
    "PlaygroundSetting",
    "SweepLab",
    "compare_points",
    "course_map",
    "course_map_alt",
    "descent_explorable",
    "descent_figure",
    "descent_path",
    "features_explorable",
    "features_figure",
    "fitted_curves",
    "forest_chart",
    "heat_map",
    "interval_chart",
    "line_panels",
    "loss_explorable",
    "loss_figure",
    "matrix_row",
    "new_figure",
    "null_distribution",
    "pair_panels",
    "playground_data",
    "playground_explorable",
    "playground_figure",
    "playground_run",
    "playground_teacher",
    "property_matrix",
    "pruning_explorable",
    "pruning_figure",
    "rank_explorable",
    "rank_figure",
    "ratio_bars",
    "reliability_diagram",
    "seeds_explorable",
    "seeds_figure",
    "show",
    "soft_label_gallery",
    "temperature_explorable",
    "temperature_figure",
    "width_explorable",
    "width_figure",
]
