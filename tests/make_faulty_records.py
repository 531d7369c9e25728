"""Train all that `diagnose/test_real_runs.py` trains and keep the records: python tests/make_faulty_records.py.

Do so when a rule needs what the kept records do not have. A minute or two.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import faulty_records
import pytest

if __name__ == "__main__":
    os.environ[faulty_records.KEEP] = "1"
    sys.exit(pytest.main(["-n", "0", "-m", "dear", str(Path(__file__).with_name("diagnose") / "test_real_runs.py")]))
