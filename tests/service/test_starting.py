"""Nothing is looked through for garbage while a process imports, and that ends also where an import fails."""

import gc
import subprocess
import sys
from importlib import import_module

import pytest

from service.starting import importing


def test_garbage_is_looked_for_again_after_an_import_whatever_came_of_it():
    before = gc.get_freeze_count()
    with pytest.raises(ModuleNotFoundError), importing():
        assert not gc.isenabled()
        import_module("nothing_of_this_name")
    assert gc.isenabled() and gc.get_freeze_count() <= before


def test_who_looks_for_none_is_not_made_to():
    gc.disable()
    with importing():
        pass
    found = gc.isenabled()
    gc.enable()
    assert not found


def test_what_a_process_has_imported_at_its_start_is_not_looked_through():
    code = "import gc\nfrom service.starting import importing\nwith importing(at_start=True): import polars\n"
    code += "print(gc.get_freeze_count() > 10_000, gc.isenabled())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "True True\n"
