"""Looking into what a network does."""

from sixloop.inspect.confusion import confusion_matrix, format_confusion
from sixloop.inspect.curves import plot_history

__all__ = ["confusion_matrix", "format_confusion", "plot_history"]
