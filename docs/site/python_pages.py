"""Pages of the Python reference: which modules stand on them. mkdocstrings writes them out from their docstrings."""

from pathlib import Path
from typing import Final

_CLIENT = """# The Python client

`pip install` of the service brings it. Settings come from the environment: `NFA_URL` and `NFA_TOKEN`.

::: service.client.Client
    options:
      inherited_members: true

::: service.client.AsyncClient
    options:
      members: false

::: service.client.ClientError

::: service.client.Unreachable
"""
_KERNELS = """# Kernels: {title}

Of the mathematics on torch alone, in a distribution of its own
([why](../decisions/0015-the-kernels-have-a-distribution-of-their-own.md)). Dimension letters: K networks, N samples,
D inputs, H units, C outputs. [Mathematics](../mathematics.md) has the formulas.
"""
TITLES: Final = {
    "kernels": "quantities",
    "data": "data",
    "graphs": "graphs",
    "initialisations": "initialisations",
    "optimizers": "optimisers",
    "programs": "programs of graphs",
}
"""Pages of the kernels: those at the top of the package, and each folder's."""


def modules(root: Path) -> dict[str, str]:
    """Pages by name."""
    package = root / "nfa_kernels"
    found = {"client": _CLIENT}
    for name, title in TITLES.items():
        folder = package if name == "kernels" else package / name
        files = sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")
        names = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
        parts = [f"## {module.rpartition('.')[2]}\n\n::: {module}\n" for module in names]
        found[name] = "\n".join([_KERNELS.format(title=title), *parts])
    return found
