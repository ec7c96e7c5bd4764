import { isPlausible, type Stall, TimeLimitError } from '../../core/base/clock.ts';
import { onceChanged } from '../../core/base/credential-copies.ts';
import { type Duration, minutes } from '../../core/base/duration.ts';
import { AgentError, type FailureId } from '../../core/base/errors.ts';
import { describeStall } from '../../core/base/stall-clock.ts';
import { shellWord } from '../../core/base/text.ts';
import { HubFailure, type RetryCause } from '../../core/contract/hub.ts';
import { BASIC_TIER, isRefusedByTier, TIER_REMEDY } from '../../core/contract/hub-tier.ts';
import { connectFailure, type Destination, proxyFailure, setTheClock } from '../../core/network/connect-failure.ts';
import { ProxyError } from '../../core/network/tunnel.ts';
import type { Proof } from '../identity/identity.ts';
import { MALFORMED } from './incoming.ts';

/** The facts that error messages and remedies name. */
export interface Peer {
  /** The host name of the hub or the gateway, with the port unless it is 8883. */
  readonly address: string;
  /** As of Identity. */
  readonly namedBy?: string | undefined;
  /** Whether the identity names the trusted authorities, as IoT Edge does; hub.trustedCaFile then has no effect. */
  readonly hasOwnCa?: boolean;
  /** The module's proof of identity. If absent, a token. */
  readonly proof?: Proof['kind'];
  /** `device/module`. */
  readonly module: string;
  /** By the device's wall clock. If it is wrong, good credentials and certificates are refused. */
  readonly now: Date;
}

/** A twin request was answered with an error status, or with something that isn't a twin. */
export class TwinStatusError extends Error {
  override readonly name = 'TwinStatusError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Classifies an error of MQTT.js, the SDK, TLS, DNS or the operating system.
 *
 * The SDK (azure-iot-device-mqtt 1.16) reports every failed first connection as unauthorized, even without a network.
 * So only the underlying error is used: `transportError`, or, if it is absent, the end of the message.
 */
export function classifyError(thrown: unknown, peer: Peer): HubFailure {
  if (thrown instanceof HubFailure) return thrown;
  // A file that each connection needs, as hub.trustedCaFile and hub.proxyPasswordFile.
  if (thrown instanceof AgentError) return new HubFailure(thrown, 'credentials');
  if (thrown instanceof TwinStatusError) return twinFailure(thrown, peer);
  if (thrown instanceof TimeLimitError)
    return silence(`${thrown.message}, without an answer from ${peer.address}`, peer);
  if (thrown instanceof ProxyError) return proxyFailure(thrown, behindProxy(peer));
  const error = innermost(thrown);
  const text = textOf(error);
  const code = error.code;
  if (peer.proof === 'certificate' && ALERT.test(text)) return certificateRefused(text, peer);
  if (QUOTA.test(`${error.name}`)) return quotaExceeded(peer);
  if (code === 2 || code === 4 || code === 5 || REFUSED.test(text)) return credentialRefused(peer);
  if (code === 3 || /Server unavailable/i.test(text)) {
    return unreachable(`${peer.address} reports that it is unavailable`, 'Wait; the agent retries by itself.');
  }
  if (text === CLOSED_EARLY) {
    const remedy = `Check that ${peer.address} is an IoT Hub or a gateway to one, and that no second agent uses ${peer.module}.`;
    return unreachable(`${peer.address} closed the connection`, remedy);
  }
  return connectFailure({ code, text }, destination(peer));
}

/** The SDK's message when the connection ended without an error. */
const CLOSED_EARLY = 'Unable to establish a connection';

/** The hub's error code, and the SDK's name of the error. Source: "Troubleshoot Azure IoT Hub error codes". */
const QUOTA = /\b403002\b|QuotaExceeded/;
const REFUSED = /Connection refused: (?:Not authorized|Bad username or password|Identifier rejected)/i;
/** The other side refused our certificate: RFC 5246 (7.2) and RFC 8446 (6), as OpenSSL writes them. */
const ALERT =
  /alert (?:bad certificate|unsupported certificate|certificate (?:revoked|expired|unknown|required)|unknown ca|access denied)|alert number (?:4[2-9]|116)\b/i;

/** The hub sent nothing within the time limit. */
export const silence = (message: string, peer: Peer): HubFailure => {
  const remedy = `Check the network between the device and ${peer.address}: packets are dropped without a reply, for example by a firewall.`;
  return failure('HUB_SILENT', message, remedy, 'network');
};

/** An established connection ended. */
export const connectionLost = (peer: Peer, cause?: unknown): HubFailure => {
  const why = cause === undefined ? 'the hub or the network closed it' : textOf(innermost(cause));
  const remedy = `If this repeats, check that no second agent connects as ${peer.module}: the hub closes the older of two connections.`;
  return unreachable(`the connection to ${peer.address} was lost: ${why}`, remedy);
};

/** The peer violated the protocol. */
export const misbehaved = (peer: Peer, { message }: Error): HubFailure => {
  const remedy = `Check that ${peer.address} is an IoT Hub or a gateway to one, and that you trust the authority that issued its certificate.`;
  return failure('HUB_MISBEHAVES', `the connection to ${peer.address} was closed: ${message}`, remedy, 'network');
};
/** For this long after a stall, connection failures are attributed to it: a hub closes after 1.5 keep-alive periods. */
const AFTER_STALL = minutes(2);

/**
 * Replaces a network failure that follows a stall of this process. A stalled process sends no pings and reads no answers,
 * so its connection ends although the network works.
 */
export function afterStall(failure: HubFailure, stall: Stall | undefined, now: Duration, peer: Peer): HubFailure {
  const isNetworks = ['HUB_SILENT', 'HUB_UNREACHABLE'].includes(failure.error.id);
  if (!isNetworks || stall === undefined || now - stall.ended > AFTER_STALL) return failure;
  const message = `the connection to ${peer.address} ended because the agent itself was ${describeStall(stall)}`;
  const remedy =
    'Wait; the agent reconnects. If this repeats, check the device for an overloaded disk or CPU, or too little memory.';
  return new HubFailure(new AgentError('AGENT_HELD_UP', message, remedy, { cause: failure.error }), 'network');
}

/** MQTT 3.1.1 reports a wrong key, an expired token and an unknown module alike, as CONNACK 5. */
function credentialRefused(peer: Peer): HubFailure {
  const message = `${peer.address} refused the credentials of ${peer.module}`;
  if (!isPlausible(peer.now)) {
    const why = "the token's expiry is wrong because the device's clock is not set";
    return failure('CREDENTIAL_REFUSED', `${message}: ${why}`, setTheClock(peer.now), 'credentials');
  }
  if (peer.proof === 'certificate')
    return failure('CREDENTIAL_REFUSED', message, certificateRemedy(peer), 'credentials');
  const remedy =
    `Check, in this order: that the module exists and its device is enabled (az iot hub module-identity show), that ` +
    `the key is the module's own, not the device's, that the device's clock is right (now ${timeOf(peer)}), and that the hub is not ` +
    `of the basic tier, which has no modules${onceChanged()}.`;
  return failure('CREDENTIAL_REFUSED', message, remedy, 'credentials');
}

function certificateRefused(text: string, peer: Peer): HubFailure {
  const message = `${peer.address} refused the certificate of ${peer.module} (${text})`;
  return failure('CREDENTIAL_REFUSED', message, certificateRemedy(peer), 'credentials');
}

const certificateRemedy = (peer: Peer): string =>
  `Check, in this order: that the module exists and its device is enabled (az iot hub module-identity show), that the hub ` +
  `knows the certificate (its thumbprint, or the authority that signed it), and that the device's clock is right (now ${timeOf(peer)})${onceChanged()}.`;

const behindProxy = (peer: Peer) => ({
  name: peer.address,
  target: `${peer.address}${portHint(peer)}`,
  unreachable: 'HUB_UNREACHABLE' as const,
  otherwise: ', or set hub.transport to "mqttWebSocket" if it allows only port 443',
});

/** What names the host to connect to, unless the identity does. */
export const HOST_SETTINGS = 'hub.hostName (or hub.gatewayHostName)';

/** What makes IoT Edge trust a certificate: its gateway's is the only one that an identity names authorities for. */
const TRUST_BUNDLE =
  "Let IoT Edge's gateway have a certificate of an authority in IoT Edge's trust bundle (edge_ca and trust_bundle_cert in " +
  '/etc/aziot/config.toml, then: iotedge config apply)';

const destination = (peer: Peer): Destination => ({
  name: peer.address,
  host: hostOf(peer),
  target: `${peer.address}${portHint(peer)}`,
  settings: peer.namedBy ?? HOST_SETTINGS,
  ...(peer.hasOwnCa === true ? { trust: TRUST_BUNDLE } : {}),
  unreachable: 'HUB_UNREACHABLE',
  now: peer.now,
});

function twinFailure({ status, message }: TwinStatusError, peer: Peer): HubFailure {
  if (QUOTA.test(message)) return quotaExceeded(peer);
  if (isRefusedByTier(message)) {
    return failure('HUB_TIER_UNSUPPORTED', `${peer.address} ${BASIC_TIER} (403010)`, TIER_REMEDY, 'credentials');
  }
  if (status === 429) {
    const remedy = 'Wait; if this continues, add units to the hub or set longer frequencies in the module twin.';
    return failure('HUB_THROTTLED', `${peer.address} throttles module twin requests (429)`, remedy, 'throttled');
  }
  if (status === 401 || status === 403) return credentialRefused(peer);
  if (status === 404) {
    const [deviceId = '', moduleId = ''] = peer.module.split('/');
    const create = `az iot hub module-identity create --hub-name HUB --device-id ${shellWord(deviceId)} --module-id ${shellWord(moduleId)}`;
    const remedy = `Create it, with the name of your hub for HUB: ${create}`;
    return failure('MODULE_UNKNOWN', `${peer.address} has no module ${peer.module}`, remedy, 'credentials');
  }
  if (status === MALFORMED) {
    const remedy = `Check that ${peer.address} is an IoT Hub or a gateway to one.`;
    return failure('TWIN_UNREADABLE', `the module twin can't be read: ${message}`, remedy, 'network');
  }
  if (status >= 500) {
    const message = `${peer.address} failed to process a module twin request (${status})`;
    return unreachable(message, 'Wait; the agent retries by itself.');
  }
  const remedy = 'Report this as a defect, with the lines around it.';
  return failure('INTERNAL', `${peer.address} refused a module twin request (${status})`, remedy, undefined);
}

function quotaExceeded(peer: Peer): HubFailure {
  const remedy = 'Wait for the next UTC day, or add units to the hub.';
  return failure('HUB_QUOTA_EXCEEDED', `the daily quota of ${peer.address} is used up (403002)`, remedy, 'quota');
}

const failure = (id: FailureId, message: string, remedy: string, cause: RetryCause | undefined) =>
  new HubFailure(new AgentError(id, message, remedy), cause);

const unreachable = (message: string, remedy: string) => failure('HUB_UNREACHABLE', message, remedy, 'network');

interface Foreign {
  readonly code?: unknown;
  readonly name?: unknown;
  readonly message: string;
}

/** The innermost error. The SDK nests errors as `transportError`, some of them in themselves. */
function innermost(thrown: unknown): Foreign {
  let error = thrown as Partial<Foreign & { transportError: unknown }> | null | undefined;
  const seen = new Set<unknown>();
  while (error?.transportError && !seen.has(error)) {
    seen.add(error);
    error = error.transportError as typeof error;
  }
  // Node tries a host's addresses in turn, and reports an AggregateError without a message if all fail.
  const [first] = error instanceof AggregateError ? error.errors : [];
  const message = String(error?.message || (first as Error | undefined)?.message || thrown);
  return { code: error?.code, name: error?.name, message };
}

/** The message in one short line, without OpenSSL's error queue and the SDK's misleading prefix. */
const textOf = ({ message }: Foreign): string =>
  message
    .replace(/^.*Failure on first connection \(Not authorized\): /s, '')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 300);

const hostOf = ({ address }: Peer) => address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
const portHint = ({ address }: Peer) => (/:\d+$/.test(address) ? '' : ':8883');
const timeOf = ({ now }: Peer) => now.toISOString();
