"""etcd as the cluster's memory: leases, the latch, the hosts; imported only where high availability is on."""
