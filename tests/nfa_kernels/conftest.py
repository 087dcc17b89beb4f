import sys
from pathlib import Path

# the reference and the builders lie beside the tests
sys.path.insert(0, str(Path(__file__).parent))
