"""What trials say of the processor that trained them."""

import platform
from pathlib import Path

import pytest

from workers.processor import model_of, processor_name

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R)  Xeon(R) CPU @ 2.20GHz

processor\t: 1
model name\t: another
"""


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (INTEL, "Intel(R) Xeon(R) CPU @ 2.20GHz"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n", "aarch64"),
        ("model name\t:\n", "aarch64"),
        ("", "aarch64"),
        (f"model name : {'x' * 900}\n", "x" * 100),
    ],
)
def test_a_processor_is_named_by_its_model_or_else_its_architecture(told: str, name: str) -> None:
    assert model_of(told, "aarch64") == name


def test_the_processor_of_this_machine_is_the_first_that_the_system_tells_of() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    told = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    assert processor_name() == model_of(told, platform.machine())
