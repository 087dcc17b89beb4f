"""The one definition of every figure: the web page, the command line and notebooks draw the same chart."""

from service.web.figures.boundary import boundary_lines, boundary_plane
from service.web.figures.curves import alignment_curves, metric_curves
from service.web.figures.exponent import exponent_by_depth
from service.web.figures.hand import untouched
from service.web.figures.parallel import parallel
from service.web.figures.phase import phase_diagram
from service.web.figures.power_law import power_laws
from service.web.figures.profile import exponent_profile
from service.web.figures.scatter import scatter
from service.web.figures.spectra import spectra
from service.web.figures.spread import spread
from service.web.figures.style import FORMATS, dark, save
from service.web.figures.trial import trial_panels

__all__ = [
    "FORMATS",
    "alignment_curves",
    "boundary_lines",
    "boundary_plane",
    "dark",
    "exponent_by_depth",
    "exponent_profile",
    "metric_curves",
    "parallel",
    "phase_diagram",
    "power_laws",
    "save",
    "scatter",
    "spectra",
    "spread",
    "trial_panels",
    "untouched",
]
