"""Transcripts a person can read: a command, dashes, and exactly what it gave; blocks apart by an empty line."""

from __future__ import annotations

from collections.abc import Callable


def played(text: str, run: Callable[[str], str]) -> str:
    """Return the transcript with the answers that ``run`` gives now; lines with ``#`` are comments and stay."""
    blocks = []
    for block in text.strip().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        comments = [line for line in block.splitlines() if line.startswith("#")]
        if not lines:
            blocks.append(block)
            continue
        blocks.append("\n".join([*comments, lines[0], "----", run(lines[0])]))
    return "\n\n".join(blocks) + "\n"
