import { isPlausible } from '../../../core/base/clock.ts';
import { onceChanged } from '../../../core/base/credential-copies.ts';
import type { Duration } from '../../../core/base/duration.ts';
import { AgentError, type FailureId } from '../../../core/base/errors.ts';
import { printable } from '../../../core/base/text.ts';
import { HubFailure, type RetryCause } from '../../../core/contract/hub.ts';

/** The facts that messages and remedies name. */
export interface Subject {
  /** `host`, with the port if it is configured. */
  readonly service: string;
  readonly idScope: string;
  readonly registrationId: string;
  /** How the device proves itself: `the key in /etc/vakt/device.key`. */
  readonly proof: string;
  readonly now: Date;
}

/** Wrong key or certificate, unknown ID scope, not enrolled. */
export function refused(subject: Subject, status: string, text: string): HubFailure {
  const { service, idScope, registrationId, proof, now } = subject;
  const message = `${service} refused the registration ${registrationId} (${status}${text === '' ? '' : `: ${text}`})`;
  const remedy = isPlausible(now)
    ? `Check, in this order: that identity.idScope is the service's (it is ${idScope}; az iot dps show --name DPS --query properties.idScope), ` +
      `that ${registrationId} is enrolled there, alone or by a group, that ${proof} is that enrolment's, and that the ` +
      `device's clock is right (now ${now.toISOString()})${onceChanged()}.`
    : `Set the device's clock (now ${now.toISOString()}), for example by NTP; the agent then registers at once.`;
  return failure('PROVISIONING_REFUSED', message, remedy, 'credentials');
}

/** The service accepted the device, and could not assign it. */
export function failed({ service, registrationId }: Subject, errorCode: number | undefined, text: string): HubFailure {
  const code = errorCode === undefined ? '' : ` (${errorCode})`;
  const message = `${service} could not assign ${registrationId} to a hub${code}${text === '' ? '' : `: ${text}`}`;
  const remedy =
    `Correct what the message names, such as a custom allocation function or a hub that is no longer linked. The service's ` +
    `own view: az iot dps enrollment registration show --dps-name DPS --enrollment-id ${registrationId}; for a group: ` +
    `az iot dps enrollment-group registration show --dps-name DPS --registration-id ${registrationId}`;
  return failure('PROVISIONING_FAILED', message, remedy, 'credentials');
}

export function disabled({ service, registrationId }: Subject): HubFailure {
  const message = `the enrolment of ${registrationId} at ${service} is disabled`;
  const remedy =
    `Enable it: az iot dps enrollment update --dps-name DPS --enrollment-id ${registrationId} --provisioning-status ` +
    'enabled; for a group: az iot dps enrollment-group update --dps-name DPS --enrollment-id GROUP --provisioning-status enabled';
  return failure('PROVISIONING_DISABLED', message, remedy, 'credentials');
}

export function throttled({ service }: Subject, after: Duration | undefined): HubFailure {
  const remedy = 'Wait; the agent registers again by itself.';
  return failure('PROVISIONING_UNREACHABLE', `${service} asks for fewer requests (429)`, remedy, 'throttled', after);
}

/** The service is reached, but cannot register anybody now. */
export function unavailable({ service }: Subject, problem: string, after?: Duration): HubFailure {
  const remedy = 'Wait; the agent registers again by itself.';
  return failure('PROVISIONING_UNREACHABLE', `${service} ${problem}`, remedy, 'network', after);
}

/** What answers is not the service. */
export function misleading({ service }: Subject, answer: string): HubFailure {
  const remedy = `Check identity.endpoint, and that no portal or proxy answers instead of ${service}.`;
  return failure('PROVISIONING_UNREACHABLE', `${service} answered with ${answer}`, remedy, 'network');
}

/** The service is unreachable by all protocols. @param failures one per protocol, in the order of the attempts */
export function unreachable({ service }: Subject, failures: readonly [HubFailure, ...HubFailure[]]): HubFailure {
  const [first] = failures;
  const { id, remedy } = first.error;
  const message = [...new Set(failures.map(({ error }) => cleaned(error.message)))].join('; ');
  return failure(
    id,
    message,
    id === 'PROVISIONING_UNREACHABLE' ? reach(service) : remedy,
    first.retryCause ?? 'network',
  );
}

const reach = (service: string) =>
  /:\d+$/.test(service)
    ? `Check identity.endpoint, DNS and the firewall: the device must reach ${service} by TCP, directly or through hub.proxy.`
    : `Check DNS and the firewall: the device must reach ${service} by TCP on port 443 or 8883, directly or through hub.proxy.`;

const failure = (id: FailureId, message: string, remedy: string, cause: RetryCause, after?: Duration) =>
  new HubFailure(new AgentError(id, message, remedy), cause, after === undefined ? {} : { after });

const LONGEST_TEXT = 300;
/** A token in any spelling that a header or a user name can have; an answer can repeat what the agent sent. */
const TOKENS = /SharedAccessSignature\S*(?:\s\S+)?|\bsig(?:=|%3d)[^\s&]*/gi;

/** Text from the service or the network as one line that is short, safe to show, and free of tokens. */
export const cleaned = (text: string): string =>
  printable(text.slice(0, 4 * LONGEST_TEXT).replace(/\s+/g, ' '))
    .replace(TOKENS, '…')
    .trim()
    .slice(0, LONGEST_TEXT)
    .replace(/[\ud800-\udbff]$/, ''); // half of a character
