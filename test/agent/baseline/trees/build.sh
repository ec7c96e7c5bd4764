#!/bin/sh
# Builds three Debian trees to scan, as root: build.sh FOLDER. Takes minutes and a mirror; by hand, not in CI. Then:
#
#   vakt baseline --root FOLDER/stock
set -eu
folder=${1:?}
here=$(dirname "$0")

debootstrap --variant=minbase \
  --include=systemd-sysv,openssh-server,sudo,cron,rsyslog,logrotate,apparmor,auditd,iproute2,nftables,procps \
  trixie "$folder/stock"
for kind in weaken harden; do
  cp -a "$folder/stock" "$folder/${kind}ed"
  "$here/$kind.sh" "$folder/${kind}ed"
done
