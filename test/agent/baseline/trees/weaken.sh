#!/bin/sh
# Weakens a Debian tree like typical devices: weaken.sh ROOT. Runs no program of the tree.
set -eu
root=${1:?}

chmod 0666 "$root/etc/passwd" "$root/etc/crontab"
chmod 0644 "$root/etc/shadow"
chmod 0777 "$root/etc/cron.d" "$root/usr/local/bin"
chmod u+s "$root/usr/bin/find"
echo /usr/lib/evil.so >"$root/etc/ld.so.preload"

{
  echo 'toor::0:0::/root:/bin/bash'
  echo 'admin:x:1000:1000::/home/admin:/bin/sh'
  echo 'guest:x:1000:7777::/home/guest:/bin/sh'
} >>"$root/etc/passwd"
# shellcheck disable=SC2016 # a hash
echo 'admin:$1$salt$1234567890123456789012:99999:0:99999:7:::' >>"$root/etc/shadow"
echo 'guest::19000:0:99999:7:::' >>"$root/etc/shadow"
echo '+::::::' >>"$root/etc/group"
mkdir -p "$root/home/admin/.ssh"
echo 'machine x login y password z' >"$root/home/admin/.netrc"
: >"$root/home/admin/.ssh/id_rsa"
chmod 0777 "$root/home/admin" "$root/home/admin/.ssh" "$root/home/admin/.ssh/id_rsa"
mkdir -p "$root/home/guest"

mkdir -p "$root/etc/ssh/sshd_config.d"
cat >"$root/etc/ssh/sshd_config.d/00-open.conf" <<'END'
PermitRootLogin yes
PermitEmptyPasswords yes
IgnoreRhosts no
HostbasedAuthentication yes
StrictModes no
PermitUserEnvironment yes
GatewayPorts yes
PermitTunnel yes
LogLevel QUIET
Ciphers aes128-cbc,3des-cbc
KexAlgorithms +diffie-hellman-group1-sha1
MaxSessions 100
UsePAM no
END

printf 'net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.accept_redirects = 1\nkernel.randomize_va_space = 0\n' \
  >"$root/etc/sysctl.d/99-open.conf"
echo 'tmpfs /tmp tmpfs rw 0 0
server:/export /mnt nfs rw 0 0
/dev/sr0 /media/cdrom iso9660 ro,noauto 0 0' >"$root/etc/fstab"
printf 'telnet stream tcp nowait root /usr/sbin/telnetd telnetd\n' >"$root/etc/inetd.conf"
# shellcheck disable=SC2016 # for the shell that reads it
printf '#!/bin/sh\numask 000\nexport PATH=.:$PATH\n' >"$root/etc/profile.d/open.sh"
echo 'PATH=/usr/local/bin:.:/bin' >>"$root/root/.profile"
printf 'Defaults !authenticate\nDefaults timestamp_timeout=-1\nadmin ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/open"
chmod 0666 "$root/etc/sudoers.d/open"
printf 'APT::Get::AllowUnauthenticated "true";\n' >"$root/etc/apt/apt.conf.d/99open"
printf '%s\n' 'Debian \r on \m' >"$root/etc/issue"
# shellcheck disable=SC2016 # rsyslog's own
printf '$FileCreateMode 0666\n$ModLoad imudp\n$UDPServerRun 514\n' >"$root/etc/rsyslog.d/open.conf"
ln -sf /dev/null "$root/etc/systemd/system/cron.service"
rm -f "$root/etc/systemd/system/multi-user.target.wants/rsyslog.service"
mkdir -p "$root/etc/systemd/system/sysinit.target.wants"
ln -sf /usr/lib/systemd/system/debug-shell.service "$root/etc/systemd/system/sysinit.target.wants/debug-shell.service"
mkdir -p "$root/etc/docker" "$root/etc/wpa_supplicant"
printf 'Package: telnetd\nStatus: install ok installed\nVersion: 0.17\n\nPackage: rsh-server\nStatus: install ok installed\nVersion: 0.17\n\n' \
  >>"$root/var/lib/dpkg/status"
