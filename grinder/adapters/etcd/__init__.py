"""etcd as the cluster's memory: leases, the latch, the hosts; imported only where high availability is on.

Nobody imports gRPC before this: it reads once what is said here.
"""

import os
from typing import Final

FORK_VARIABLE: Final = "GRPC_ENABLE_FORK_SUPPORT"
"""Unless this says 0, gRPC acts around each fork of its process, for children that go on using it: where a call was
under way, a child aborted or hung before it came to run its program, and the parent's connection broke. None of ours
uses it. Source: grpc, ``src/core/lib/iomgr/fork_posix.cc``."""

os.environ[FORK_VARIABLE] = "0"
