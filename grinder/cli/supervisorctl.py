"""Plug-in of supervisorctl: ``supervisorctl -c conf/supervisord.conf override PAUSE`` is ``grinder override PAUSE``.

Must never do anything that the command line does not.
"""

from __future__ import annotations

import shlex

from supervisor.supervisorctl import Controller, ControllerPluginBase

from grinder.cli.main import main


class OverridePlugin(ControllerPluginBase):
    """Adds the word ``override`` to supervisorctl."""

    name = "override"

    def __init__(self, controller: Controller, **config: str) -> None:
        self.ctl = controller

    def do_override(self, arguments: str) -> None:
        """Do what `grinder override` does, with its exit code."""
        try:
            code = main(["override", *shlex.split(arguments)])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        self.ctl.exitstatus = code

    def help_override(self) -> None:
        """Tell what there is to say after the word."""
        self.ctl.output("override PAUSE|EMERGENCY|NONE|show [--reason WORD] [--ack]\tas `grinder override`")


def make(controller: Controller, **config: str) -> OverridePlugin:
    """Return the plug-in; called by supervisorctl."""
    return OverridePlugin(controller, **config)
