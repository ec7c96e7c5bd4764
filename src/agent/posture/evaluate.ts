import type { BaselinePosture } from '../../core/contract/baseline.ts';
import type { Exposure } from './exposure.ts';
import type { AccountsPosture, Fact, FirewallPosture } from './facts.ts';
import type { Assessment, Assessments, Severity } from './recommendation.ts';

/** Messages in the time between two snapshots. */
export interface MessageFigures {
  readonly sent: number;
  readonly under4KB: number;
}

/** What the snapshots say. */
export interface SnapshotFacts {
  readonly exposure: Fact<Exposure>;
  readonly firewall: Fact<FirewallPosture>;
  readonly accounts: Fact<AccountsPosture>;
  readonly baseline: Fact<BaselinePosture>;
  readonly messages: Fact<MessageFigures>;
}

/** What a running agent knows of itself. */
export interface AgentFacts {
  /** Numbers of properties of the desired configuration. */
  readonly configuration: Fact<{ readonly refused: number; readonly warned: number }>;
  readonly credential: Fact<{ readonly expiresSoon: boolean }>;
  /** Events that should come from the kernel's audit, and do not. */
  readonly audit: Fact<{ readonly eventsWithout: number }>;
}

/** Minimum number of messages before their size counts. */
const FEWEST_MESSAGES = 10;
/** The published recommendation begins at the same share. */
const TOLERATED_SHARE = 0.1;

const clear: Assessment = { state: 'clear' };
const holds = (severity: Severity, count: number): Assessment =>
  count > 0 ? { state: 'holds', severity, count } : clear;
const unknown = (reason: string): Assessment => ({ state: 'unknown', reason });

/** Assesses a fact. If nothing is found, but the fact is incomplete, the result is unknown. */
function of<T>(fact: Fact<T>, assess: (found: T) => Assessment): Assessment {
  if ('unknown' in fact) return unknown(fact.unknown);
  const assessment = assess(fact.found);
  return assessment.state !== 'holds' && fact.incomplete !== undefined ? unknown(fact.incomplete) : assessment;
}

/** Whether there is reason for each recommendation. Pure. */
export function assessmentsOf(facts: SnapshotFacts & AgentFacts): Assessments {
  return {
    accountWithoutPassword: of(facts.accounts, ({ withoutPassword }) =>
      withoutPassword === undefined ? unknown(NO_SHADOW) : holds('Critical', withoutPassword),
    ),
    secondRootAccount: of(facts.accounts, ({ uidZero }) => holds('High', uidZero - 1)),
    credentialExpires: of(facts.credential, ({ expiresSoon }) => holds('High', expiresSoon ? 1 : 0)),
    baselineFailed: of(facts.baseline, assessBaseline),
    permissiveFirewallPolicy: of(facts.firewall, assessPolicy),
    permissiveFirewallRule: of(facts.firewall, ({ permissiveRules }) => holds('Medium', permissiveRules)),
    openPorts: of(facts.exposure, ({ openPorts }) => holds('Medium', openPorts)),
    noKernelAudit: of(facts.audit, ({ eventsWithout }) => holds('Medium', eventsWithout)),
    configurationNotOptimal: of(facts.configuration, ({ refused, warned }) =>
      holds(refused > 0 ? 'Medium' : 'Low', refused + warned),
    ),
    messagesUnder4KB: of(facts.messages, ({ sent, under4KB }) =>
      sent < FEWEST_MESSAGES
        ? unknown(`fewer than ${FEWEST_MESSAGES} messages since the last snapshot`)
        : holds('Low', under4KB > sent * TOLERATED_SHARE ? under4KB : 0),
    ),
  };
}

export const NO_SHADOW = 'the shadow file cannot be read, so it is not known which accounts have a password';

function assessBaseline({ passed, failed, errors, failedBySeverity }: BaselinePosture): Assessment {
  if (passed + failed + errors === 0) return unknown('no hardening rule is assessed');
  if (failed === 0 && errors > 0) return unknown(`${errors} hardening rules could not be assessed`);
  const { critical, important, warning } = failedBySeverity;
  return holds(critical > 0 ? 'Critical' : important > 0 ? 'High' : warning > 0 ? 'Medium' : 'Low', failed);
}

/** Packets from this device are usually allowed, so that alone is of low severity. */
function assessPolicy({ inbound, forward, outbound }: FirewallPosture): Assessment {
  const isPermissive = (direction: FirewallPosture['inbound']) => direction === 'allow' || direction === 'none';
  const directions = [inbound, forward, outbound];
  const count = directions.filter(isPermissive).length;
  if (count === 0 && directions.includes('unknown')) return unknown('a program decides about packets, see "queue"');
  return holds(isPermissive(inbound) ? 'Medium' : 'Low', count);
}
