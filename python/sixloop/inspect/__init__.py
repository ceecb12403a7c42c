"""Looking into what a network does."""

from sixloop.inspect.classify import classify
from sixloop.inspect.confusion import confusion_matrix, format_confusion
from sixloop.inspect.curves import plot_history
from sixloop.inspect.explain import ExplainRow, Explanation, Machine, explain
from sixloop.inspect.graph import draw_graph, format_graph
from sixloop.inspect.lecture import (
    LectureRow,
    format_lecture,
    lecture_figure,
    lecture_rows,
    lecture_table,
)

__all__ = [
    "ExplainRow",
    "Explanation",
    "LectureRow",
    "Machine",
    "classify",
    "confusion_matrix",
    "draw_graph",
    "explain",
    "format_confusion",
    "format_graph",
    "format_lecture",
    "lecture_figure",
    "lecture_rows",
    "lecture_table",
    "plot_history",
]
