import { type Duration, seconds } from '../core/base/duration.ts';
import { AgentError, errnoOf, messageOf } from '../core/base/errors.ts';
import { ProxyError } from '../core/network/tunnel.ts';

/** What is wrong with one request. */
export class ServiceFailure extends Error {
  override readonly name = 'ServiceFailure';
  /**
   * `throttled`: the same request will do later. `unanswered`, `broken`: perhaps; there was no answer, or it was 5xx.
   * `refused`: it will not.
   */
  readonly kind: 'throttled' | 'unanswered' | 'broken' | 'refused';
  /** Of the answer; 0 if there was none. */
  readonly status: number;
  /** How long to wait, if the hub says so. */
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
 * What an error of the service SDK means. Its classes and messages are not used: a 403 is called TooManyDevicesError, and
 * a module that does not exist has the message "Not found".
 *
 * @returns an AgentError when no other request would fare better
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
      'Use a shared access policy with the rights registry read, registry write and service connect (iothubowner has them), or the role "IoT Hub Data Contributor" of Microsoft Entra; check the key and the clock.';
    return new AgentError('CREDENTIAL_REFUSED', `the hub refuses the credential: ${message}`, remedy);
  }
  // The text can quote names, so it counts only without a code.
  if (status === 403 && /quota|403002/i.test(code || text)) {
    const remedy = 'Run the command again after 00:00 UTC, when the quota starts again, or add units to the hub.';
    return new AgentError('HUB_QUOTA_EXCEEDED', `the hub's daily quota is used up: ${message}`, remedy);
  }
  return new ServiceFailure(status >= 500 ? 'broken' : 'refused', status, message);
}

const CERTIFICATE = /CERT|SIGNATURE|ISSUER|TLS_/;

function withoutAnswer(thrown: unknown): ServiceFailure | AgentError {
  if (thrown instanceof ProxyError) return byProxy(thrown);
  const code = errnoOf(thrown) ?? '';
  if (CERTIFICATE.test(code)) {
    const remedy = 'If a proxy or an emulator is in between, name its authority with --trusted-ca-file FILE.';
    return new AgentError('TLS_FAILED', `the hub's certificate is not trusted: ${messageOf(thrown)}`, remedy);
  }
  if (/Credential|Authentication/.test((thrown as Error | null)?.name ?? '')) {
    const remedy = 'Sign in with "az login", or use a connection string (--connection-string-file FILE).';
    const first = messageOf(thrown).split('\n', 1)[0];
    return new AgentError('CREDENTIAL_REFUSED', `Microsoft Entra gives no token: ${first}`, remedy);
  }
  if (thrown instanceof SyntaxError) return new ServiceFailure('broken', 0, 'the answer is not JSON');
  return new ServiceFailure('unanswered', 0, messageOf(thrown), { cause: thrown });
}

/** Another password or another rule of the proxy would help, but no other request. */
function byProxy(thrown: ProxyError): ServiceFailure | AgentError {
  const { proxy, status, message, user } = thrown;
  const refused = (what: string, remedy: string) =>
    new AgentError('PROXY_REFUSED', `the proxy ${proxy} ${what}`, remedy, { cause: thrown });
  if (status === 407 && user === undefined) {
    const remedy =
      'Name the user by --proxy http://USER@HOST:PORT, and a file with the password by --proxy-password-file.';
    return refused('asks for a user and a password (407)', remedy);
  }
  if (status === 407) {
    const remedy =
      'Correct the user in --proxy and the password in the file of --proxy-password-file, or both in HTTPS_PROXY, if that is what is used.';
    return refused(`refused the user ${user} or its password (407)`, remedy);
  }
  if (status !== undefined && status >= 400 && status < 500) {
    const remedy = 'Allow CONNECT to the hub, port 443, at the proxy; or exempt a hub in your own network by NO_PROXY.';
    return refused(`refused to connect to the hub (${status})`, remedy);
  }
  return new ServiceFailure('unanswered', 0, message, { cause: thrown });
}

const LONGEST_REASON = 500;

/** Hubs word errors in two forms: text, or JSON within the text. */
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

/** Only the form in seconds, which hubs use. */
function retryAfterIn(headers: Readonly<Record<string, string | undefined>> = {}): Duration | undefined {
  const text = headers['retry-after'] ?? '';
  return /^\d{1,5}$/.test(text) ? seconds(Number(text)) : undefined;
}
