/** Actions of trusted actors. A rule lists the kinds that have a legitimate reason for its subject: `vakt: lowered:`. */
export const ACTOR_KINDS = [
  'packages',
  'accounts',
  'initramfs',
  'maintenance',
  'checks',
  'init',
  'containers',
  'firewall',
  'updates',
  'configuration',
] as const;
export type ActorKind = (typeof ACTOR_KINDS)[number];

/**
 * A program or script of the system with a legitimate reason for actions that look like an attack. It counts only as a process
 * of root, started from the host's own file, which only root can replace.
 */
export interface TrustedActor {
  /** Name shown in the alert: `During: dpkg`. */
  readonly name: string;
  readonly kind: ActorKind;
  /** Names of programs in the system's directories: binaries, and scripts that an interpreter of the system runs. */
  readonly programs?: readonly string[];
  /** Full paths of other programs and scripts. */
  readonly paths?: RegExp;
  /** Only as a child of an actor of one of these kinds. The alert shows the name of that actor. */
  readonly under?: readonly ActorKind[];
  /** Only as the first process of the system. */
  readonly isFirstProcess?: true;
}

/** To trust another program, add a row. For rules that list the kind, the severity of all its actions is lowered by one level. */
export const TRUSTED_ACTORS: readonly TrustedActor[] = [
  {
    name: 'dpkg',
    kind: 'packages',
    programs: ['dpkg', 'dpkg-deb', 'dpkg-divert', 'dpkg-statoverride', 'update-alternatives'],
  },
  {
    name: 'maintainer script',
    kind: 'packages',
    paths: /^\/var\/lib\/dpkg\/(info\/[^/]+\.|tmp\.ci\/)(preinst|postinst|prerm|postrm|config|triggers)$/,
    under: ['packages'],
  },
  {
    name: 'maintainer helper',
    kind: 'packages',
    programs: [
      'deb-systemd-invoke',
      'deb-systemd-helper',
      'dpkg-maintscript-helper',
      'invoke-rc.d',
      'ucf',
      'augenrules',
    ],
    paths: /^\/usr\/share\/(debconf\/frontend|dpkg\/[^/]+)$/,
    under: ['packages'],
  },
  { name: 'apt', kind: 'packages', programs: ['apt', 'apt-get'] },
  { name: 'rpm', kind: 'packages', programs: ['rpm', 'dnf', 'dnf5', 'microdnf', 'yum', 'zypper'] },
  { name: 'opkg', kind: 'packages', programs: ['opkg', 'opkg-cl'] },
  { name: 'apk', kind: 'packages', programs: ['apk'] },
  { name: 'pacman', kind: 'packages', programs: ['pacman'] },
  { name: 'debootstrap', kind: 'packages', programs: ['debootstrap'] },

  { name: 'adduser', kind: 'accounts', programs: ['adduser', 'addgroup', 'deluser', 'delgroup', 'userdel'] },
  { name: 'systemd-sysusers', kind: 'accounts', programs: ['systemd-sysusers'] },
  { name: 'cloud-init', kind: 'accounts', programs: ['cloud-init'] },

  {
    name: 'initramfs-tools',
    kind: 'initramfs',
    programs: ['update-initramfs', 'mkinitramfs'],
    paths: /^\/(usr\/share|etc)\/initramfs-tools\/([^/]+\/)*[^/]+$/,
  },
  { name: 'dracut', kind: 'initramfs', programs: ['dracut'], paths: /^\/usr\/lib\/dracut\/([^/]+\/)*[^/]+$/ },

  { name: 'logrotate', kind: 'maintenance', programs: ['logrotate', 'savelog', 'rsyslogd'] },
  { name: 'cron script', kind: 'maintenance', paths: /^\/etc\/cron\.(hourly|daily|weekly|monthly)\/[^/]+$/ },
  { name: 'etckeeper', kind: 'maintenance', programs: ['etckeeper'] },
  { name: 'dpkg-db-backup', kind: 'maintenance', paths: /^\/usr\/libexec\/dpkg\/dpkg-db-backup$/ },
  {
    name: 'logs in memory',
    kind: 'maintenance',
    programs: ['log2ram', 'folder2ram', 'zram-config', 'mount-copybind', 'hassos-persists'],
    paths: /^\/usr\/lib\/armbian\/armbian-(ramlog|zram-config)$/,
  },

  {
    name: 'rootkit checker',
    kind: 'checks',
    programs: ['rkhunter', 'chkrootkit', 'lynis', 'tiger', 'checksecurity', 'debsums', 'oscap', 'sosreport'],
  },
  { name: 'updatedb', kind: 'checks', programs: ['updatedb', 'updatedb.plocate', 'updatedb.mlocate'] },

  {
    name: 'init',
    kind: 'init',
    programs: ['init', 'init.sysvinit', 'busybox', 'procd'],
    paths: /^\/(usr\/)?lib\/systemd\/(systemd|init)$/,
    isFirstProcess: true,
  },
  { name: 'monit', kind: 'init', programs: ['monit'] },
  {
    name: 'init script',
    kind: 'init',
    programs: ['openrc', 'openrc-run', 'openrc-run.sh', 'rc.shutdown'],
    paths: /^\/etc\/(init\.d\/[^/]+|(rc\.d\/)?rc[0-6S]?(\.d\/[^/]+)?|rc\.(local|common))$/,
    under: ['init'],
  },

  { name: 'docker', kind: 'containers', programs: ['dockerd'] },
  { name: 'balena', kind: 'containers', programs: ['balenad', 'start-balena-supervisor', 'hostapp-update'] },
  { name: 'podman', kind: 'containers', programs: ['podman', 'netavark'] },
  { name: 'kubernetes', kind: 'containers', programs: ['kubelet', 'kube-proxy'] },
  { name: 'home assistant', kind: 'containers', programs: ['hassos-supervisor'] },

  { name: 'ufw', kind: 'firewall', programs: ['ufw'], paths: /^\/(usr\/)?lib\/ufw\/ufw-init(-functions)?$/ },
  { name: 'firewalld', kind: 'firewall', programs: ['firewalld'] },
  { name: 'fail2ban', kind: 'firewall', programs: ['fail2ban-server', 'fail2ban-client'] },
  {
    name: 'netfilter-persistent',
    kind: 'firewall',
    programs: ['netfilter-persistent'],
    paths: /^\/usr\/share\/netfilter-persistent\/plugins\.d\/[^/]+$/,
  },
  { name: 'shorewall', kind: 'firewall', programs: ['shorewall', 'shorewall6', 'shorewall-lite'] },
  { name: 'fw4', kind: 'firewall', programs: ['fw3', 'fw4'] },
  { name: 'libvirt', kind: 'firewall', programs: ['libvirtd', 'virtnetworkd'] },

  { name: 'rauc', kind: 'updates', programs: ['rauc'], paths: /^\/usr\/lib\/rauc\/([^/]+\/)*[^/]+$/ },
  { name: 'swupdate', kind: 'updates', programs: ['swupdate'], paths: /^\/usr\/lib\/swupdate\/([^/]+\/)*[^/]+$/ },
  {
    name: 'Mender update',
    kind: 'updates',
    programs: ['mender', 'mender-update', 'mender-auth'],
    paths: /^\/usr\/share\/mender\/([^/]+\/)*[^/]+$/,
  },

  { name: 'puppet', kind: 'configuration', programs: ['puppet'] },
  { name: 'salt', kind: 'configuration', programs: ['salt-minion', 'salt-call'] },
  { name: 'chef', kind: 'configuration', programs: ['chef-client'] },
  { name: 'cfengine', kind: 'configuration', programs: ['cf-agent'] },
];
