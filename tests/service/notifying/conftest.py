import sys
from pathlib import Path

# the receiver lies beside the tests
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
