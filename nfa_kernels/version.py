"""The version of what is released here: of the service, of the kernels alone, and of the images. Its one source."""

from typing import Final

VERSION: Final = "0.2.0.dev0"
"""As PEP 440 has it; the numbers of trials depend on names.NUMERICAL_VERSION instead."""
