"""Values and errors are rounded together, to two digits of the error."""

import pytest

from bunchtrain import discrimination as d
from bunchtrain.rounding import alone, rounded, together


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        (1.9, 0.04, "1.900 ± 0.040"),
        (1417.1, 117, "1,420 ± 120"),
        (7689.3, 2293.8, "7,700 ± 2,300"),
        (409.7, 246, "410 ± 250"),
        (0.99954, 0.0000843, "0.999540 ± 0.000084"),
        (0.123, 0.0996, "0.12 ± 0.10"),
        (12.0, 9.97, "12 ± 10"),
        (0.0, 0.25, "0.00 ± 0.25"),
        (-3.14159, 1.0, "-3.1 ± 1.0"),
    ],
)
def test_a_value_has_the_digits_of_its_error(value, error, told):
    assert together(value, error) == told


def test_without_an_error_a_value_has_three_digits():
    assert [together(262262.0, one) for one in (None, 0.0, float("nan"))] == ["262,000"] * 3
    assert rounded(0.12345, None) == ("0.123", "") and alone(0.0) == "0.00" and alone(9.999) == "10.0"
    assert alone(5, sign=True) == "+5.00" and together(1.06, 0.11, sign=True) == "+1.06 ± 0.11"


def row(efficiency, passing, rejection=100.0, error=5.0, limit=False):
    return {
        "efficiency": efficiency,
        "background_passing": passing,
        "background_total": 1000,
        "rejection": rejection,
        "error": error,
        "lower_limit": limit,
    }


def test_a_rejection_is_told_as_a_limit_or_as_about_a_number():
    assert d.told(row(0.5, 10, 1417.1, 117)) == "1,420 ± 120"
    assert d.told(row(0.5, 0, 2212.4, None, True)) == "> 2,200" and d.told(row(0.5, 1, 262262.0, None)) == "≈ 260,000"
    assert d.told(row(0.5, 3, None, None)) == "-"


def test_the_quoted_working_point_is_one_at_which_enough_passes():
    rows = [row(0.3, 1), row(0.5, 3), row(0.7, 12), row(0.8, 30)]
    assert d.quotable(rows)["efficiency"] == 0.7
    assert d.quotable([row(0.3, 11), row(0.5, 12, error=None), row(0.9, 40)])["efficiency"] == 0.3
    assert d.quotable(rows[:2])["efficiency"] == 0.5
    assert d.quotable([row(0.3, 0, limit=True), row(0.5, 0, limit=True)])["efficiency"] == 0.5
