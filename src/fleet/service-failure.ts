import { type Duration, seconds } from '../core/base/duration.ts';
import { AgentError, errnoOf, messageOf } from '../core/base/errors.ts';
import { BASIC_TIER, isRefusedByTier, TIER_REMEDY } from '../core/contract/hub-tier.ts';
import { ProxyError } from '../core/network/tunnel.ts';

/** The failure of one request. */
export class ServiceFailure extends Error {
  override readonly name = 'ServiceFailure';
  /**
   * `throttled`: the same request will succeed later. `unanswered`, `broken`: it may (no answer, 5xx). `refused`: it will
   * not.
   */
  readonly kind: 'throttled' | 'unanswered' | 'broken' | 'refused';
  /** Status of the answer; 0 if there was none. */
  readonly status: number;
  /** Time to wait, if the hub gave one. */
  readonly retryAfter: Duration | undefined;

  constructor(
    kind: ServiceFailure['kind'],
    status: number,
    message: string,
    options: { readonly cause?: unknown; readonly retryAfter?: Duration | undefined } = {},
  ) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.status = status;
    this.retryAfter = options.retryAfter;
  }
}

interface SdkError {
  readonly response?: { readonly statusCode?: number; readonly headers?: Readonly<Record<string, string | undefined>> };
  readonly responseBody?: unknown;
}

/**
 * Classifies an error of the service SDK. The SDK's classes and messages mislead: every 403 is a TooManyDevicesError, and a
 * missing module has the message "Not found".
 *
 * @returns an AgentError if all other requests would fail, too
 */
export function failureOf(thrown: unknown): ServiceFailure | AgentError {
  if (thrown instanceof ServiceFailure || thrown instanceof AgentError) return thrown;
  const { response, responseBody } = (thrown ?? {}) as SdkError;
  const status = response?.statusCode;
  if (status === undefined) return withoutAnswer(thrown);
  const { code, text } = reasonIn(responseBody);
  const message = code === '' ? `${status}: ${text}` : `${status} ${code}: ${text}`;
  if (status === 429) {
    return new ServiceFailure('throttled', status, message, { retryAfter: retryAfterIn(response?.headers) });
  }
  if (status === 401) {
    const remedy =
      'Use a shared access policy with the permissions registry read, registry write and service connect (iothubowner has them), or the role "IoT Hub Data Contributor" of Microsoft Entra; check the key and the clock.';
    return new AgentError('CREDENTIAL_REFUSED', `the hub rejects the credential: ${message}`, remedy);
  }
  // The text can quote names, so it is used only without a code.
  if (status === 403 && /quota|403002/i.test(code || text)) {
    const remedy = 'Run the command again after 00:00 UTC, when the quota resets, or add units to the hub.';
    return new AgentError('HUB_QUOTA_EXCEEDED', `the hub's daily quota is used up: ${message}`, remedy);
  }
  if (isRefusedByTier(code || text))
    return new AgentError('HUB_TIER_UNSUPPORTED', `the hub ${BASIC_TIER}: ${message}`, TIER_REMEDY);
  return new ServiceFailure(status >= 500 ? 'broken' : 'refused', status, message);
}

const CERTIFICATE = /CERT|SIGNATURE|ISSUER|TLS_/;

function withoutAnswer(thrown: unknown): ServiceFailure | AgentError {
  if (thrown instanceof ProxyError) return byProxy(thrown);
  const code = errnoOf(thrown) ?? '';
  if (CERTIFICATE.test(code)) {
    const remedy =
      'If the connection goes through a proxy or to an emulator, trust its authority with --trusted-ca-file FILE.';
    return new AgentError('TLS_FAILED', `the hub's certificate is not trusted: ${messageOf(thrown)}`, remedy);
  }
  if (/Credential|Authentication/.test((thrown as Error | null)?.name ?? '')) {
    const remedy = 'Sign in with "az login", or use a connection string (--connection-string-file FILE).';
    const first = messageOf(thrown).split('\n', 1)[0];
    return new AgentError('CREDENTIAL_REFUSED', `Microsoft Entra returned no token: ${first}`, remedy);
  }
  if (thrown instanceof SyntaxError) return new ServiceFailure('broken', 0, 'the answer is not JSON');
  return new ServiceFailure('unanswered', 0, messageOf(thrown), { cause: thrown });
}

/** A failure of the proxy: all other requests would fail, too. */
function byProxy(thrown: ProxyError): ServiceFailure | AgentError {
  const { proxy, status, message, user, passwordFile } = thrown;
  const refused = (problem: string, remedy: string) =>
    new AgentError('PROXY_REFUSED', `the proxy ${proxy} ${problem}`, remedy, { cause: thrown });
  if (status === 407 && user === undefined) {
    const remedy =
      'Set the user with --proxy http://USER@HOST:PORT, and a file with the password with --proxy-password-file.';
    return refused('requires a user and a password (407)', remedy);
  }
  if (status === 407) {
    const remedy =
      passwordFile === undefined
        ? 'Correct the user in --proxy and name a file with the password with --proxy-password-file, or correct both in HTTPS_PROXY, if the command uses that.'
        : `Correct the user in --proxy and the password in ${passwordFile} (--proxy-password-file).`;
    return refused(`refused the user ${user} or its password (407)`, remedy);
  }
  if (status !== undefined && status >= 400 && status < 500) {
    const remedy =
      'Allow CONNECT to the hub, port 443, at the proxy; or exempt a hub in your own network with NO_PROXY.';
    return refused(`refused to connect to the hub (${status})`, remedy);
  }
  return new ServiceFailure('unanswered', 0, message, { cause: thrown });
}

const LONGEST_REASON = 500;

/** Hubs have two error formats: text, or JSON within the text. */
function reasonIn(body: unknown): { readonly code: string; readonly text: string } {
  const outer = parsed(body);
  const message = outer === undefined ? String(body ?? '') : String(outer.Message ?? outer.message ?? '');
  const inner = parsed(message);
  if (inner !== undefined) return { code: String(inner.errorCode ?? ''), text: cut(String(inner.message ?? '')) };
  const [, code = '', text = message] = /^ErrorCode:(\w+);(.*)$/s.exec(message) ?? [];
  return { code, text: cut(text) };
}

const cut = (text: string) => (text === '' ? 'without a reason' : text.slice(0, LONGEST_REASON));

function parsed(text: unknown): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(String(text));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Parses only the form in seconds, which hubs use. */
function retryAfterIn(headers: Readonly<Record<string, string | undefined>> = {}): Duration | undefined {
  const text = headers['retry-after'] ?? '';
  return /^\d{1,5}$/.test(text) ? seconds(Number(text)) : undefined;
}
