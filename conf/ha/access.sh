#!/bin/sh
# Who may do what in etcd: each client certificate is the user of its common name, and all of them but root reach the
# keys of one cluster and nothing else. Run once, with the certificate of root in ETCDCTL_CERT and ETCDCTL_KEY; run again
# to let another user in. There are no passwords.
#
#   conf/ha/access.sh CLUSTER USER...
set -eu

[ $# -ge 2 ] || {
    sed -n '6s/^# *//p' "$0" >&2
    exit 2
}
cluster=$1 role=grinder-$1
shift

known() { # user|role NAME: is it there already
    etcdctl "$1" list | grep -qx "$2"
}

known user root || etcdctl user add root --no-password
known role root || etcdctl role add root
etcdctl user grant-role root root
known role "$role" || etcdctl role add "$role"
etcdctl role grant-permission --prefix=true "$role" readwrite "/grinder/v1/$cluster/"
for user; do
    known user "$user" || etcdctl user add "$user" --no-password
    etcdctl user grant-role "$user" "$role"
done
etcdctl auth enable
