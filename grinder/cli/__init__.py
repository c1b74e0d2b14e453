"""The operator's command: ``grinder``. One row per command; a command's module is imported only when it is called."""

from grinder.cli.main import main

__all__ = ["main"]
