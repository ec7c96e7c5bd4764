import { systemClock } from '../../../core/base/clock.ts';
import { AgentError, errnoOf, messageOf } from '../../../core/base/errors.ts';
import { counted } from '../../../core/base/text.ts';
import { AuditControl } from '../../linux/audit/control.ts';
import { hiddenBy } from '../../linux/audit/hiding-rules.ts';
import { type KernelRule, LOCKED_REMEDY } from '../../linux/audit/rules.ts';
import type { AuditStatus } from '../../linux/audit/status.ts';
import { NETLINK_AUDIT, openNetlink } from '../../linux/native/netlink/socket.ts';
import { runsOwnProgram } from '../../linux/self/own-program.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { checkKernelCommandLine } from './kernel-command-line.ts';
import { type Check, step } from './situation.ts';

const NAME = 'audit';

/** The state of the kernel's audit: its daemon, its rules, and the records that it lost. Changes nothing. */
export const audit: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  async run({ agent, local, signal }) {
    let control: AuditControl | undefined;
    try {
      control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
      const status = await step("the kernel's audit", control.status(), signal);
      const rules = await step("audit's rules", control.rules(), signal);
      const runs = agent.status !== undefined || agent.statusError !== undefined;
      return [
        ...checkAudit(status, rules, agent.status?.pid, runs || runsOwnProgram(status.pid)),
        ...checkKernelCommandLine(NAME, local.hostRoot),
      ];
    } catch (error) {
      signal.throwIfAborted();
      const errno = errnoOf(error instanceof AgentError ? error.cause : error);
      const remedy = errno === undefined && error instanceof AgentError ? error.remedy : ASK_AS_ROOT;
      return [note(NAME, `its status can't be read: ${errno ?? messageOf(error)}`, REMEDIES[errno ?? ''] ?? remedy)];
    } finally {
      control?.close();
    }
  },
};

const ASK_AS_ROOT =
  'Run this command as root. The agent itself needs CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and a kernel with audit.';
const REMEDIES: Readonly<Record<string, string>> = {
  EPERM:
    "Run this command as root. The agent itself needs CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and in a container the host's pid and user namespaces (--pid=host).",
  EPROTONOSUPPORT:
    'Start a container with --security-opt=seccomp=config/seccomp.json (a file of Vakt), whose filter allows the audit socket. Elsewhere use a kernel with CONFIG_AUDIT=y, and without audit=0 or audit=off on its command line.',
};

/**
 * @param agentId the running agent's process id
 * @param runs whether the agent's rules may belong to a running agent or command
 */
export function checkAudit(
  { enabled, failure, pid, backlogLimit, lost }: AuditStatus,
  rules: readonly KernelRule[],
  agentId?: number,
  runs = true,
): Finding[] {
  const ownRules = rules.filter((rule) => rule.ours).length;
  const daemon = pid === 0 ? 'no daemon' : pid === agentId ? 'the agent is its daemon' : `its daemon is process ${pid}`;
  const summary = `${STATES[enabled] ?? enabled}, ${daemon}, ${counted(rules.length, 'rule')} (${ownRules} of them the agent's), backlog ${backlogLimit}, ${counted(lost, 'record')} lost since boot`;
  if (enabled === 2 && ownRules === 0) {
    return [wrong(NAME, `${summary}; the agent's rules can't be added until a reboot`, LOCKED_REMEDY)];
  }
  if (ownRules > 0 && !runs) {
    const finding = `${summary}; these rules were left by an agent that was killed, and fill the kernel's log`;
    return [wrong(NAME, finding, 'Unless "vakt collect" or a dry run is running now: vakt remove-rules')];
  }
  const hidden = hiddenBy(rules);
  if (hidden !== undefined) {
    const { message, remedy } = hidden.reason;
    return [(hidden.isAll ? wrong : note)(NAME, `${summary}. ${message}`, remedy)];
  }
  if (failure === 2) {
    const remedy = 'Unless that is intended, run: auditctl -f 1';
    return [note(NAME, `${summary}; the kernel panics when it loses a record`, remedy)];
  }
  return [ok(NAME, summary)];
}

const STATES: Readonly<Record<number, string>> = { 0: 'off', 1: 'on', 2: 'locked' };
