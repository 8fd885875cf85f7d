"""The uncertainty of a share: of lesions found, of trainings that failed."""


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Args:
        count: how many have the property.
        total: how many there are.

    Returns:
        Its two ends; 0 and 1 where there is nothing to count.

    Example:
        >>> low, high = wilson(1, 4)
        >>> round(low, 3), round(high, 3)
        (0.046, 0.699)

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    from scipy import stats  # takes half a second, which scoring without a report need not wait

    if not total:
        return 0.0, 1.0
    ends = stats.binomtest(count, total).proportion_ci(method="wilson")
    # The ends are 0 and 1 on paper where none or all have it; rounding leaves them a hair inside or outside.
    return (float(ends.low) if count else 0.0), (float(ends.high) if count < total else 1.0)
