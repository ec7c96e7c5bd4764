/* What the agent recommends: by id, how it is worded, and what to do. */

import { counted } from '../../core/base/text.ts';

export const SEVERITIES = ['Critical', 'High', 'Medium', 'Low', 'Informational'] as const;
export type Severity = (typeof SEVERITIES)[number];

interface Wording {
  /** One sentence without a full stop, for a number of things found. */
  readonly title: (count: number) => string;
  /** What to do, one sentence or two. */
  readonly remedy: string;
}

/** In the order of reports of the same severity. */
export const RECOMMENDATIONS = {
  accountWithoutPassword: {
    title: (count) => counted(count, 'account needs no password', 'accounts need no password'),
    remedy: 'Lock each with "passwd -l USER", or give it a password with "passwd USER".',
  },
  secondRootAccount: {
    title: (count) => counted(count, 'account besides root has user id 0', 'accounts besides root have user id 0'),
    remedy:
      'If it is not yours, remove it: "userdel --force USER" (without --force, userdel refuses, because processes run as user id 0). Otherwise change its user id with "vipw", and use sudo.',
  },
  credentialExpires: {
    title: () => 'The credential of the agent expires soon and was not renewed',
    remedy: 'Run "vakt check", renew the certificate or key that it names, and see that its service is running.',
  },
  baselineFailed: {
    title: (count) => counted(count, 'hardening rule fails', 'hardening rules fail'),
    remedy:
      'Run "vakt baseline" as root: it says what to do for each rule. Make an exception for those that do not fit the device.',
  },
  permissiveFirewallPolicy: {
    title: (count) => `The packet filter accepts traffic that no rule matches, in ${count} of 3 directions`,
    remedy:
      'Allow the traffic that the device needs, then have the base chains drop the rest, for IPv4 and IPv6: "policy drop" in nftables, "iptables -P INPUT DROP" and "ip6tables -P INPUT DROP".',
  },
  permissiveFirewallRule: {
    title: (count) =>
      counted(
        count,
        'rule of the packet filter allows packets from anywhere to any port, or to a broad range',
        'rules of the packet filter allow packets from anywhere to any port, or to a broad range',
      ),
    remedy:
      'Limit each rule to the ports and source addresses that are needed; "vakt collect FirewallConfiguration" lists the rules.',
  },
  openPorts: {
    title: (count) => counted(count, 'port can be reached from outside', 'ports can be reached from outside'),
    remedy:
      'Stop services that are not needed ("systemctl disable --now UNIT"), bind those for this device alone to 127.0.0.1, and let the packet filter protect the others; "vakt collect ListeningPorts" lists the ports.',
  },
  noKernelAudit: {
    title: (count) =>
      counted(count, 'event is not taken from the kernel’s audit', 'events are not taken from the kernel’s audit'),
    remedy: 'Run "vakt check": it says why audit is not available, and how to make it so.',
  },
  configurationNotOptimal: {
    title: (count) =>
      counted(
        count,
        'property of the module twin has an error or a warning',
        'properties of the module twin have errors or warnings',
      ),
    remedy: 'Run "vakt status": it lists errors and warnings by property. Change these in the desired properties.',
  },
  messagesUnder4KB: {
    title: (count) =>
      counted(
        count,
        'message since the last snapshot was smaller than the 4 KB that the hub bills',
        'messages since the last snapshot were smaller than the 4 KB that the hub bills',
      ),
    remedy: 'Raise both message frequencies in the module twin, so that more events share a message.',
  },
} as const satisfies Readonly<Record<string, Wording>>;

export type RecommendationId = keyof typeof RECOMMENDATIONS;
export const RECOMMENDATION_IDS = Object.keys(RECOMMENDATIONS) as RecommendationId[];

/** Whether there is reason for a recommendation now. `unknown`: can't be assessed. */
export type Assessment =
  | { readonly state: 'holds'; readonly severity: Severity; readonly count: number }
  | { readonly state: 'clear' }
  | { readonly state: 'unknown'; readonly reason: string };

export type Assessments = Readonly<Record<RecommendationId, Assessment>>;
