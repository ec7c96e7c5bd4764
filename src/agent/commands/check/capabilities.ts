import { note, ok } from './finding.ts';
import { capabilitiesOf, processOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'capabilities';

/** The capabilities that the agent uses, by their numbers in linux/capability.h. */
const USED: readonly (readonly [number: number, name: string, purpose: string])[] = [
  [30, 'CAP_AUDIT_CONTROL', 'program starts, connections, logins'],
  [37, 'CAP_AUDIT_READ', 'the same, beside auditd'],
  [12, 'CAP_NET_ADMIN', 'the packet filter, ends of processes, larger receive buffers for bursts'],
  [2, 'CAP_DAC_READ_SEARCH', "other users' files and sockets"],
  [19, 'CAP_SYS_PTRACE', "other users' programs"],
];

export const capabilities: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  run({ agent }) {
    const held = capabilitiesOf(processOf(agent));
    if (held === undefined) return [];
    const missing = USED.filter(([number]) => ((held >> BigInt(number)) & 1n) === 0n);
    if (missing.length === 0) return [ok(NAME, 'all that the agent uses')];
    const list = missing.map(([, name, purpose]) => `${name} (${purpose})`).join(', ');
    const subject = agent.status === undefined ? 'this user lacks' : 'the running agent lacks';
    const remedy =
      'Start the agent by the shipped systemd unit, which grants them; for a container, use --cap-add and the unmodified image.';
    return [note(NAME, `${subject} ${list}`, remedy)];
  },
};
