import type { Network, Target } from '../../../core/network/network.ts';
import type { ServiceAnswer } from './answer.ts';
import type { Conversation, Registrant } from './conversation.ts';

/** Source: REST reference, "Runtime Registration" of the Device Provisioning Service. */
const API_VERSION = '2021-06-01';

/** Registers by HTTPS. Each request has a connection of its own. */
export class HttpsConversation implements Conversation {
  readonly #network: Network;
  readonly #target: Target;
  readonly #registrant: Registrant;
  readonly #signal: AbortSignal;

  constructor(network: Network, target: Target, registrant: Registrant, signal: AbortSignal) {
    this.#network = network;
    this.#target = target;
    this.#registrant = registrant;
    this.#signal = signal;
  }

  register(): Promise<ServiceAnswer> {
    return this.#ask('PUT', '/register', { registrationId: this.#registrant.registrationId });
  }

  progressOf(operationId: string): Promise<ServiceAnswer> {
    return this.#ask('GET', `/operations/${encodeURIComponent(operationId)}`);
  }

  /** The state of the last registration, which stays as it is. */
  lookUp(): Promise<ServiceAnswer> {
    return this.#ask('POST', '', { registrationId: this.#registrant.registrationId });
  }

  close(): void {}

  async #ask(method: string, path: string, content?: object): Promise<ServiceAnswer> {
    const { idScope, registrationId, token } = this.#registrant;
    const body = content === undefined ? undefined : JSON.stringify(content);
    const request = {
      method,
      path: `/${encodeURIComponent(idScope)}/registrations/${encodeURIComponent(registrationId)}${path}?api-version=${API_VERSION}`,
      headers: {
        accept: 'application/json',
        ...(token === undefined ? {} : { authorization: token }),
        ...(body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
      },
      ...(body === undefined ? {} : { body }),
    };
    const answer = await this.#network.request(this.#target, request, this.#signal);
    return { status: answer.status, retryAfter: answer.headers['retry-after'], body: answer.body };
  }
}
