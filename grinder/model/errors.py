"""The errors that adapters raise. Core returns values instead. Never carries a secret in its text."""

from __future__ import annotations

from grinder.model.reasons import DropReason


class GrinderError(Exception):
    """Base of every error this project raises on purpose."""


class PayloadError(GrinderError):
    """Bytes that are not a valid message: malformed, wrong type, out of range, too large. The sender's fault."""

    def __init__(self, detail: str = "", reason: DropReason = DropReason.WRONG_TYPE) -> None:
        super().__init__(detail or reason.value)
        self.reason = reason


class SettingsError(GrinderError):
    """One or more settings are wrong. The operator's to mend; ``problems`` lists every one of them."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class AlreadyRunningError(GrinderError):
    """Another instance holds the slot; ``owner_pid`` says which."""

    def __init__(self, what: str, owner_pid: int) -> None:
        super().__init__(f"{what} is already running as pid {owner_pid}")
        self.owner_pid = owner_pid


class BoardError(GrinderError):
    """The shared board is absent, of another layout, or of another boot."""


class VenueError(GrinderError):
    """The venue refused or failed a request: its HTTP status, its error code and its words."""

    def __init__(self, http_status: int, code: int, message: str) -> None:
        super().__init__(f"venue error {code} (HTTP {http_status}): {message}")
        self.http_status = http_status
        self.code = code
        self.message = message


class EtcdError(GrinderError):
    """A request to etcd was not answered as asked."""


class EtcdRefusedError(EtcdError):
    """A member answered that the request was not carried out: denied, no such lease, malformed."""


class EtcdSilentError(EtcdError):
    """No member that may be used answered in time, or one could not tell: the request may have been carried out.

    ``no_space``: etcd has used up its quota and takes nothing but reads and deletes. The first write beyond the quota
    is carried out in spite of that answer. Source: etcd 3.5, quotaApplierV3.
    """

    def __init__(self, why: str, *, no_space: bool = False) -> None:
        super().__init__(why)
        self.no_space = no_space
