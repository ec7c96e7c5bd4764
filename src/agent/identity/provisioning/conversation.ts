import type { ServiceAnswer } from './answer.ts';

/** Who registers. */
export interface Registrant {
  readonly idScope: string;
  readonly registrationId: string;
  /** A shared access signature, which is secret. If absent, the connection has a client certificate. */
  readonly token?: string;
}

/**
 * Questions of one registration to the service. Rejects with the network's errors; what an answer means is decided by its
 * reader.
 */
export interface Conversation {
  register(): Promise<ServiceAnswer>;
  /** How far an operation is that `register` began. */
  progressOf(operationId: string): Promise<ServiceAnswer>;
  /** The state of the last registration, without registering. If absent, the protocol has no such request. */
  lookUp?(): Promise<ServiceAnswer>;
  /** Safe to call twice. */
  close(): void;
}

/** The service refused the connection itself, before any question: by MQTT's CONNACK. */
export class ConnectionRefused extends Error {
  override readonly name = 'ConnectionRefused';
  readonly returnCode: number;

  constructor(returnCode: number) {
    super(`the connection was refused (CONNACK ${returnCode})`);
    this.returnCode = returnCode;
  }
}
