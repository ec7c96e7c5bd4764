import type { Clock } from '../../../core/base/clock.ts';
import { milliseconds, minutes } from '../../../core/base/duration.ts';
import { messageOf } from '../../../core/base/errors.ts';
import { HubFailure } from '../../../core/contract/hub.ts';
import { addressOf, hostAndPort } from '../../../core/network/address.ts';
import type { Network, Target } from '../../../core/network/network.ts';
import { requestFailure } from '../request-failure.ts';
import { busy, readAnswer, readState } from './answer.ts';
import type { Assignment } from './assignment.ts';
import { ConnectionRefused, type Conversation, type Registrant } from './conversation.ts';
import { cleaned, refused, type Subject, unavailable, unreachable } from './failures.ts';
import { HttpsConversation } from './https.ts';
import { MqttConversation } from './mqtt.ts';

/** Every instance of the service answers to this name. */
export const GLOBAL_SERVICE = 'global.azure-devices-provisioning.net';
const HTTPS_PORT = 443;
const MQTT_PORT = 8883;

/** How long a registration may take, from its acceptance to its end. */
const LONGEST_REGISTRATION = minutes(5);

export interface Registering {
  /** `host` or `host:port`. */
  readonly endpoint: string;
  readonly registrant: Registrant;
  readonly certificate?: { readonly certificate: string; readonly key: string };
  readonly subject: Subject;
  readonly network: Network;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Only asks where the device is assigned, when it has registered before, and registers it otherwise. */
  readonly lookUp?: boolean;
}

/** A registration that succeeded. */
export interface Registered {
  readonly assignment: Assignment;
  /** The service's `host:port`, and how it was reached. */
  readonly by: string;
  /** Whether the device was registered now; else it was assigned before. */
  readonly isNew: boolean;
}

/**
 * Registers the device with the Device Provisioning Service: by HTTPS, or by MQTT where only that port leads there.
 *
 * @throws HubFailure PROVISIONING_*; the reason of `signal`
 */
export async function register(options: Registering): Promise<Registered> {
  const { subject, signal } = options;
  const registerBy = async (name: string, port: number, open: Open): Promise<Registered | HubFailure> => {
    const target = targetOf(options, port);
    try {
      const registered = await converse(options, await open(options, target));
      return { ...registered, by: `${hostAndPort(target)} (${name})` };
    } catch (error) {
      signal.throwIfAborted();
      // The other protocol would get the same answer.
      if (error instanceof HubFailure) throw error;
      if (error instanceof ConnectionRefused) throw connectionRefused(error, subject);
      if (options.certificate !== undefined && isAlert(error)) throw refused(subject, 'TLS', cleaned(messageOf(error)));
      return failureOf(error, options, target);
    }
  };
  const first = await registerBy('HTTPS', HTTPS_PORT, openHttps);
  if (!(first instanceof HubFailure)) return first;
  const second = await registerBy('MQTT', MQTT_PORT, openMqtt);
  if (!(second instanceof HubFailure)) return second;
  throw unreachable(subject, [first, second]);
}

type Open = (options: Registering, target: Target) => Conversation | Promise<Conversation>;

const openHttps: Open = ({ network, registrant, signal }, target) =>
  new HttpsConversation(network, target, registrant, signal);

const openMqtt: Open = ({ network, clock, registrant, signal }, target) =>
  MqttConversation.open({ network, clock }, target, registrant, signal);

/** The service refused the client certificate: RFC 5246, 7.2, and RFC 8446, 6, in OpenSSL's words. Names have no spaces. */
const isAlert = (error: unknown) => /\balert (?:\w+ )?(?:certificate|unknown ca|access denied)/i.test(messageOf(error));

const failureOf = (error: unknown, { endpoint, clock }: Registering, target: Target): HubFailure =>
  requestFailure(error, {
    name: 'the provisioning service',
    address: target,
    settings: endpoint === GLOBAL_SERVICE ? "the device's network" : 'identity.endpoint',
    unreachable: 'PROVISIONING_UNREACHABLE',
    silent: 'PROVISIONING_UNREACHABLE',
    now: clock.now(),
  });

const targetOf = ({ endpoint, certificate }: Registering, port: number): Target => ({
  ...addressOf(endpoint, port),
  ...certificate,
});

async function converse(
  { subject, clock, signal, lookUp = false }: Registering,
  conversation: Conversation,
): Promise<Omit<Registered, 'by'>> {
  try {
    const known = lookUp ? await lookedUp(conversation) : undefined;
    if (known !== undefined) return { assignment: known, isNew: false };
    const answer = await conversation.register();
    const deadline = clock.monotonic() + LONGEST_REGISTRATION;
    let progress = readAnswer(answer, subject);
    if (progress.kind === 'busy') throw busy(subject, answer);
    let operationId = '';
    while (progress.kind !== 'assigned') {
      if (progress.kind === 'assigning') operationId = progress.operationId;
      const left = deadline - clock.monotonic();
      if (left <= 0) {
        throw unavailable(subject, `did not assign ${subject.registrationId} within 5 minutes`, progress.wait);
      }
      // The device may be assigned by the time limit, whatever wait the service asked for.
      await clock.sleep(milliseconds(Math.min(progress.wait, left)), signal);
      signal.throwIfAborted();
      progress = readAnswer(await conversation.progressOf(operationId), subject);
    }
    return { assignment: progress.assignment, isNew: true };
  } finally {
    conversation.close();
  }
}

/** @returns `undefined` if the device has not registered, or the service can't say */
async function lookedUp(conversation: Conversation): Promise<Assignment | undefined> {
  const answer = await conversation.lookUp?.();
  return answer?.status === 200 ? readState(answer.body) : undefined;
}

/** MQTT 3.1.1, 3.2.2.3. */
const SERVER_UNAVAILABLE = 3;

const connectionRefused = ({ returnCode }: ConnectionRefused, subject: Subject): HubFailure =>
  returnCode === SERVER_UNAVAILABLE
    ? unavailable(subject, `can't register devices now (CONNACK ${returnCode})`)
    : refused(subject, `CONNACK ${returnCode}`, '');
