"""The link from the run directory to the state directory: an operator in another folder finds the running tree's state.

A relative GRINDER_STATE_DIR means another folder in another shell. Must never keep a tree from starting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

STATE_LINK: Final = "state"


def link_state_dir(run_dir: Path, state_dir: Path) -> None:
    """Point the run directory's link at a state directory; a convenience that may fail."""
    link, target = run_dir / STATE_LINK, state_dir.absolute()
    if link.is_symlink() and Path(os.readlink(link)) == target:
        return
    fresh = run_dir / f"{STATE_LINK}.{os.getpid()}"
    try:
        fresh.symlink_to(target)
        fresh.replace(link)
    except OSError:
        fresh.unlink(missing_ok=True)


def linked_state_dir(run_dir: Path, state_dir: Path) -> Path:
    """Return the state directory of the tree of a run directory; ``state_dir`` where there was none."""
    link = run_dir / STATE_LINK
    try:
        return Path(os.readlink(link)) if link.is_dir() else state_dir
    except OSError:
        return state_dir
