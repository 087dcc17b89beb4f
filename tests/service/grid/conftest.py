import sys
from pathlib import Path

# the plain expansion lies beside the tests
sys.path.insert(0, str(Path(__file__).parent))
