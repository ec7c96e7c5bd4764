import { thenUsed } from '../base/credential-copies.ts';
import { AgentError, type FailureId } from '../base/errors.ts';
import { HubFailure } from '../contract/hub.ts';
import type { ProxyError } from './tunnel.ts';

/** The target behind the proxy. */
export interface Behind {
  /** For messages. */
  readonly name: string;
  /** What CONNECT named: `host:port`. */
  readonly target: string;
  /** The id of the error when the proxy can't reach it, or can't be used. */
  readonly unreachable: FailureId;
  /** Another way than to allow the target at the proxy: `, or set …`. */
  readonly otherwise?: string;
}

/**
 * Says what a proxy's answer means. A refusal counts as one of credentials: only a change by an operator helps.
 */
export function proxyFailure(thrown: ProxyError, { name, target, unreachable, otherwise = '' }: Behind): HubFailure {
  const { proxy, status, message, user, passwordFile } = thrown;
  const refused = (message: string, remedy: string) =>
    new HubFailure(new AgentError('PROXY_REFUSED', message, remedy, { cause: thrown }), 'credentials');
  if (status === 407 && user === undefined) {
    const remedy = 'Set the user in hub.proxy (http://user@host:port) and the password in hub.proxyPasswordFile.';
    return refused(`the proxy ${proxy} asks for a user and a password (407)`, remedy);
  }
  if (status === 407) {
    const used = thenUsed(passwordFile === undefined ? [] : [passwordFile], ', which is used within 25 s');
    const remedy =
      `Correct the user in hub.proxy and the password in hub.proxyPasswordFile${used}; ` +
      'or both in HTTPS_PROXY, if that is what is used, and restart the agent.';
    return refused(`the proxy ${proxy} refused the user ${user} or its password (407)`, remedy);
  }
  if (status !== undefined && status >= 400 && status < 500) {
    const remedy = `Allow CONNECT to ${target} at the proxy${otherwise}.`;
    return refused(`the proxy ${proxy} refused CONNECT to ${target} (${status})`, remedy);
  }
  const remedy = `Check the proxy ${proxy}, and that it can reach ${name}.`;
  return new HubFailure(new AgentError(unreachable, `${name} can't be reached: ${message}`, remedy), 'network');
}
