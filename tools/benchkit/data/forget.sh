#!/bin/bash
# Have the storage cluster forget a host whose OSDs are gone for good.
#
#   forget.sh HOST
set -euo pipefail

for id in $(ceph osd ls-tree "$1"); do
    ceph osd down "$id" 2>/dev/null
    ceph osd purge "$id" --force --yes-i-really-mean-it 2>/dev/null
done
ceph osd crush rm "$1" 2>/dev/null
ceph auth rm "mgr.$1" 2>/dev/null
