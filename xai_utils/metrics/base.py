"""What all metrics share: their name tag."""

from collections.abc import Callable


def metric(slug: str, *, higher_is_better: bool):
    """Mark a function as a metric: its name in reference.csv and its direction."""

    def mark(function: Callable) -> Callable:
        function.slug, function.higher_is_better = slug, higher_is_better
        return function

    return mark
