"""What is installed."""

import importlib.metadata


def package_version(name: str) -> str | None:
    """The installed version, None without one; nothing is imported."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
