import { note, ok } from './finding.ts';
import { capabilitiesOf, processOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'capabilities';

/** What the agent makes use of, by the numbers of linux/capability.h. The collectors say what they miss, too. */
const OF_USE: readonly (readonly [number: number, name: string, purpose: string])[] = [
  [30, 'CAP_AUDIT_CONTROL', 'program starts, connections, logins'],
  [37, 'CAP_AUDIT_READ', 'the same, beside auditd'],
  [12, 'CAP_NET_ADMIN', 'the packet filter, ends of processes, room for bursts'],
  [2, 'CAP_DAC_READ_SEARCH', "other users' files and sockets"],
  [19, 'CAP_SYS_PTRACE', "other users' programs"],
];

export const capabilities: Check = {
  name: NAME,
  run({ agent }) {
    const held = capabilitiesOf(processOf(agent));
    if (held === undefined) return [];
    const missing = OF_USE.filter(([number]) => ((held >> BigInt(number)) & 1n) === 0n);
    if (missing.length === 0) return [ok(NAME, 'all that are of use')];
    const what = `without ${missing.map(([, name, purpose]) => `${name} (${purpose})`).join(', ')}`;
    const whose = agent.status === undefined ? 'this user has' : 'the running agent has';
    const remedy =
      'Start the agent by the unit that is shipped, which grants them; in a container, --cap-add and the image as it is built.';
    return [note(NAME, `${whose} not all: ${what}`, remedy)];
  },
};
