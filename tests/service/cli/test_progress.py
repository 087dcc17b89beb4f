"""What a watcher sees."""

from service.cli.progress import sparkline


def test_a_sparkline_spreads_over_all_values_and_stays_in_its_width():
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([]) == ""
    long = sparkline([place / 999 for place in range(1000)])
    assert len(long) == 24 and long[0] == "▁" and long[-1] == "█"
