#!/bin/sh
# Certificates of a cluster, made with openssl alone. Every key is made here and never leaves the folder by itself.
#
#   conf/ha/certificates.sh FOLDER authority             the authority that signs the others; ca.key stays off the hosts
#   conf/ha/certificates.sh FOLDER member NAME HOST...   one etcd member: every DNS name or address it is called by
#   conf/ha/certificates.sh FOLDER client NAME           a host's tree, an operator, or root: the user of etcd so called
#   conf/ha/certificates.sh FOLDER show                  until when each is good
#
# Made again under the same name, a certificate and its key replace the old ones, which stay good until they expire.
# DAYS is how long they are good: 3650 the authority, 397 the others where it is not set.
set -eu
umask 077

fail() {
    echo "certificates: $*" >&2
    exit 1
}

usage() {
    sed -n '3,6s/^# *//p' "$0" >&2
    exit 2
}

new_key() { # FILE: a key of its own, which nobody but its owner reads
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

authority() {
    [ ! -e "$folder/ca.key" ] || fail "$folder/ca.key is there: a new authority is a new folder"
    new_key "$folder/ca.key"
    openssl req -x509 -new -key "$folder/ca.key" -days "${DAYS:-3650}" -subj "/CN=grinder authority" -out "$folder/ca.pem" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign"
}

sign() { # NAME COMMON_NAME EXTENSIONS: a certificate and its key, in the place of older ones only when both are whole
    [ -e "$folder/ca.key" ] || fail "$folder has no authority: make it first, or bring ca.key here"
    work=$(mktemp -d "$folder/.new-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature authorityKeyIdentifier=keyid "$3" \
        >"$work/extensions"
    new_key "$work/key"
    openssl req -new -key "$work/key" -subj "/CN=$2" -out "$work/request"
    openssl x509 -req -in "$work/request" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -days "${DAYS:-397}" \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/extensions" -out "$work/pem" 2>/dev/null
    openssl verify -CAfile "$folder/ca.pem" "$work/pem" >/dev/null
    mv "$work/key" "$folder/$1.key"
    mv "$work/pem" "$folder/$1.pem"
}

names() { # HOST...: as the certificate says them
    for host; do
        case $host in
        *[!0-9.]*) case $host in *:*) printf ',IP:%s' "$host" ;; *) printf ',DNS:%s' "$host" ;; esac ;;
        *) printf ',IP:%s' "$host" ;;
        esac
    done
}

show() {
    for file in "$folder"/*.pem; do
        [ -e "$file" ] || fail "$folder holds no certificate"
        printf '%-24s %s\n' "$(basename "$file")" "$(openssl x509 -in "$file" -noout -enddate)"
    done
}

[ $# -ge 2 ] || usage
folder=$1 what=$2
shift 2
case $what in
authority) mkdir -p "$folder" && authority ;;
member)
    [ $# -ge 2 ] || usage
    name=$1
    shift
    # One common name for all members: it is what they let in as a peer, and no user of etcd has it.
    sign "$name" grinder-etcd "extendedKeyUsage=serverAuth,clientAuth
subjectAltName=$(names "$@" | cut -c 2-)"
    ;;
client)
    [ $# -eq 1 ] || usage
    sign "$1" "$1" extendedKeyUsage=clientAuth
    ;;
show) show ;;
*) usage ;;
esac
