import { isPlausible, type Stall, TimeLimitError } from '../base/clock.ts';
import { type Duration, minutes } from '../base/duration.ts';
import { AgentError, type FailureId } from '../base/errors.ts';
import { describeStall } from '../base/stall-clock.ts';
import type { Answer, RetryCause } from '../contract/hub.ts';
import { MALFORMED } from './incoming.ts';

/** What went wrong with a connection or an operation, and what it means for whoever waits. */
export class HubFailure extends Error {
  override readonly name = 'HubFailure';
  readonly error: AgentError;
  /** Absent: the same again would be refused again. */
  readonly because: RetryCause | undefined;

  constructor(error: AgentError, because: RetryCause | undefined) {
    super(error.message);
    this.error = error;
    this.because = because;
  }

  get answer(): Answer<never> {
    const { error, because } = this;
    return because === undefined ? { status: 'refused', error } : { status: 'retry', because, error };
  }
}

/** What the messages and remedies speak of. */
export interface Peer {
  /** The hub's name, or the gateway's, with its port if it isn't the usual one. */
  readonly address: string;
  /** `device/module`. */
  readonly module: string;
  /** The device's clock: the one thing that makes good credentials and certificates look bad. */
  readonly now: Date;
}

/** The twin topics answered with an error status, or with something that isn't a twin. */
export class TwinStatusError extends Error {
  override readonly name = 'TwinStatusError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Says what an error means, be it of MQTT.js, the SDK, TLS, DNS, or the operating system.
 *
 * The SDK (azure-iot-device-mqtt 1.16) calls every first connection that fails unauthorized, a missing network
 * included. Only the error behind it counts: `transportError`, or, without one, the tail of the message.
 */
export function classifyError(thrown: unknown, peer: Peer): HubFailure {
  if (thrown instanceof HubFailure) return thrown;
  if (thrown instanceof TwinStatusError) return twinFailure(thrown, peer);
  if (thrown instanceof TimeLimitError)
    return silence(`${thrown.message}, without an answer from ${peer.address}`, peer);
  const error = innermost(thrown);
  const text = textOf(error);
  const code = error.code;
  if (QUOTA.test(`${error.name} ${text}`)) return quotaExceeded(peer);
  if (code === 2 || code === 4 || code === 5 || REFUSED.test(text)) return credentialRefused(peer);
  if (code === 3 || /Server unavailable/i.test(text)) {
    return unreachable(`${peer.address} says that it is unavailable`, 'Wait; the agent tries again by itself.');
  }
  if (CLOCK.test(`${code} ${text}`)) return wrongTime(text, peer);
  if (TLS.test(`${code} ${text}`)) return tlsFailure(text, peer);
  if (/ENOTFOUND|EAI_AGAIN/.test(`${code} ${text}`)) {
    const remedy = `Check hub.hostName (or hub.gatewayHostName) and the device's DNS: getent hosts ${hostOf(peer)}`;
    return unreachable(`the name ${hostOf(peer)} can't be resolved (${text})`, remedy);
  }
  if (text === CLOSED_EARLY) {
    const remedy = `Check that ${peer.address} is an IoT Hub or a gateway to one, and that no second agent uses ${peer.module}.`;
    return unreachable(`${peer.address} closed the connection`, remedy);
  }
  const remedy = `Check that the network lets the device reach ${peer.address}${portHint(peer)} by TCP.`;
  return unreachable(`${peer.address} can't be reached (${text})`, remedy);
}

/** What the SDK says when the connection ended without any error. */
const CLOSED_EARLY = 'Unable to establish a connection';

/** The six-digit code of the hub, and the SDK's name for it. Source: "Troubleshoot Azure IoT Hub error codes". */
const QUOTA = /\b403002\b|QuotaExceeded/;
const REFUSED = /Connection refused: (?:Not authorized|Bad username or password|Identifier rejected)/i;
const CLOCK = /CERT_NOT_YET_VALID|CERT_HAS_EXPIRED|certificate is not yet valid|certificate has expired/i;
const TLS = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|\bSSL\b|\bTLS\b|certificate|self.signed/i;

/** No packet, no answer. */
export const silence = (message: string, peer: Peer): HubFailure => {
  const remedy = `Check the network between the device and ${peer.address}; something swallows packets without refusing them.`;
  return failure('HUB_SILENT', message, remedy, 'network');
};

/** The connection was there, and ended. */
export const connectionLost = (peer: Peer, cause?: unknown): HubFailure => {
  const why = cause === undefined ? 'the hub or the network closed it' : textOf(innermost(cause));
  const remedy = `If it happens again and again, look for a second agent that connects as ${peer.module}: the hub lets only one in.`;
  return unreachable(`the connection to ${peer.address} was lost: ${why}`, remedy);
};

/** It said what no hub says to a module. */
export const misbehaved = (peer: Peer, { message }: Error): HubFailure => {
  const remedy = `Check that ${peer.address} is an IoT Hub or a gateway to one, and that its certificate's authority is one to trust.`;
  return failure('HUB_MISBEHAVES', `the connection to ${peer.address} was closed: ${message}`, remedy, 'network');
};
/** A hub gives up a connection after one and a half keep-alive periods; what else fails then needs another. */
const AFTER_STALL = minutes(2);

/**
 * What a connection died of after the agent itself had stood still: it could answer no ping then, and read no answer. The
 * network is not to blame.
 */
export function afterStall(failure: HubFailure, stall: Stall | undefined, now: Duration, peer: Peer): HubFailure {
  const isNetworks = ['HUB_SILENT', 'HUB_UNREACHABLE'].includes(failure.error.id);
  if (!isNetworks || stall === undefined || now - stall.ended > AFTER_STALL) return failure;
  const message = `the connection to ${peer.address} ended because the agent itself was ${describeStall(stall)}`;
  const remedy =
    'Wait, it connects anew. If it comes again: look for a disk, a memory or a processor that is overloaded.';
  return new HubFailure(new AgentError('AGENT_HELD_UP', message, remedy, { cause: failure.error }), 'network');
}

/** MQTT 3.1.1 has one answer to a wrong key, an expired token and an unknown module: CONNACK 5. */
function credentialRefused(peer: Peer): HubFailure {
  if (!isPlausible(peer.now)) {
    const message = `${peer.address} does not let ${peer.module} in: the token was made by a clock that is not set`;
    return failure('CREDENTIAL_REFUSED', message, setTheClock(peer), 'credentials');
  }
  const remedy =
    `Check, in this order: that the module exists and its device is enabled (az iot hub module-identity show), that ` +
    `the key is the module's own, not the device's, and that the device's clock is right (it says ${timeOf(peer)}).`;
  return failure('CREDENTIAL_REFUSED', `${peer.address} does not let ${peer.module} in`, remedy, 'credentials');
}

function wrongTime(text: string, peer: Peer): HubFailure {
  const remedy = !isPlausible(peer.now)
    ? setTheClock(peer)
    : `Set the device's clock (it says ${timeOf(peer)}), for instance by NTP; if it is right, renew the server's certificate.`;
  return failure('TLS_FAILED', `the certificate of ${peer.address} is not valid now (${text})`, remedy, 'network');
}

const setTheClock = (peer: Peer) =>
  `Set the device's clock (it says ${timeOf(peer)}), for instance by NTP; the agent then tries again at once.`;

function tlsFailure(text: string, peer: Peer): HubFailure {
  const remedy =
    'Set hub.trustedCaFile to the certificate authority that signed the certificate of the hub or gateway, ' +
    'and make sure that nothing on the way (a TLS-inspecting proxy) exchanges it.';
  return failure('TLS_FAILED', `no trusted connection to ${peer.address} (${text})`, remedy, 'network');
}

function twinFailure({ status, message }: TwinStatusError, peer: Peer): HubFailure {
  if (QUOTA.test(message)) return quotaExceeded(peer);
  if (status === 429) {
    const remedy = 'Wait; if it lasts, add units to the hub or lengthen the frequencies in the module twin.';
    return failure('HUB_THROTTLED', `${peer.address} is too busy for the module twin (429)`, remedy, 'throttled');
  }
  if (status === 401 || status === 403) return credentialRefused(peer);
  if (status === 404) {
    const remedy = 'Create it: az iot hub module-identity create.';
    return failure('MODULE_UNKNOWN', `${peer.address} has no module ${peer.module}`, remedy, 'credentials');
  }
  if (status === MALFORMED) {
    const remedy = `Check that ${peer.address} is an IoT Hub or a gateway to one.`;
    return failure('TWIN_UNREADABLE', `the module twin can't be read: ${message}`, remedy, 'network');
  }
  if (status >= 500) {
    return unreachable(
      `${peer.address} failed on the module twin (${status})`,
      'Wait; the agent tries again by itself.',
    );
  }
  const remedy = 'Report this as a defect, with the log around it.';
  return failure(
    'INTERNAL',
    `${peer.address} refused what was asked of the module twin (${status})`,
    remedy,
    undefined,
  );
}

function quotaExceeded(peer: Peer): HubFailure {
  const remedy = 'Wait for the next UTC day, or add units to the hub.';
  return failure('HUB_QUOTA_EXCEEDED', `the daily quota of ${peer.address} is used up (403002)`, remedy, 'quota');
}

const failure = (id: FailureId, message: string, remedy: string, because: RetryCause | undefined) =>
  new HubFailure(new AgentError(id, message, remedy), because);

const unreachable = (message: string, remedy: string) => failure('HUB_UNREACHABLE', message, remedy, 'network');

interface Foreign {
  readonly code?: unknown;
  readonly name?: unknown;
  readonly message: string;
}

/** The error that everything began with. The SDK hangs errors onto one another, and some onto themselves. */
function innermost(thrown: unknown): Foreign {
  let error = thrown as Partial<Foreign & { transportError: unknown }> | null | undefined;
  const seen = new Set<unknown>();
  while (error?.transportError && !seen.has(error)) {
    seen.add(error);
    error = error.transportError as typeof error;
  }
  // Node tries a host's addresses one after another, and reports a bunch of failures without a message of its own.
  const [first] = error instanceof AggregateError ? error.errors : [];
  const message = String(error?.message || (first as Error | undefined)?.message || thrown);
  return { code: error?.code, name: error?.name, message };
}

/** One short line: some messages carry OpenSSL's error queue, or the SDK's wrong guess in front. */
const textOf = ({ message }: Foreign): string =>
  message
    .replace(/^.*Failure on first connection \(Not authorized\): /s, '')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 300);

const hostOf = ({ address }: Peer) => address.replace(/:\d+$/, '');
const portHint = ({ address }: Peer) => (/:\d+$/.test(address) ? '' : ':8883');
const timeOf = ({ now }: Peer) => now.toISOString();
