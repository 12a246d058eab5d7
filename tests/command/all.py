"""Runs every *_test.py beside this file; the last line is `N passed, N failed` of those run."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

if __name__ == "__main__":
    here = str(Path(__file__).parent)
    suite = unittest.defaultTestLoader.discover(here, pattern="*_test.py", top_level_dir=here)
    done = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = len(done.failures) + len(done.errors)
    for test, why in done.skipped:
        print(f"left out: {test.id()}: {why}")
    print(f"{done.testsRun - failed - len(done.skipped)} passed, {failed} failed")
    sys.exit(failed != 0 or done.testsRun == 0)
