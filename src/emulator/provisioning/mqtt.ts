import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { Aedes, type Client, type PublishPacket } from 'aedes';
import type { Clock } from '../../core/base/clock.ts';
import { milliseconds } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import { certificatesOf } from '../client-certificates.ts';
import { grantAtMostQos1, refuseVersion } from '../mqtt-server.ts';
import type { ServiceFault, ServiceFaults } from '../service/faults.ts';
import { GARBAGE } from '../service/http.ts';
import type { RequestLog, RequestRecord } from '../service/request-log.ts';
import { requestIdIn } from '../topics.ts';
import { errorDetails, ProvisioningError } from './errors.ts';
import type { Answer, Caller, Registrations } from './registrations.ts';

const RESPONSES = '$dps/registrations/res/#';
const REGISTER = '$dps/registrations/PUT/iotdps-register/';
const OPERATION_STATUS = '$dps/registrations/GET/iotdps-get-operationstatus/';

/** A CONNACK's return code (MQTT 3.1.1, 3.2.2.3). Which cause gets which code is not documented for the service. */
const NOT_AUTHORIZED = 5;

/** State of a device's connection. */
interface Session {
  readonly caller: Caller;
  readonly transport: RequestRecord['transport'];
  /** The granted QoS of the subscription to responses. */
  qos?: 0 | 1;
}

interface Parts {
  readonly registrations: Registrations;
  readonly faults: ServiceFaults;
  readonly requests: RequestLog;
  readonly clock: Clock;
}

/** The service's MQTT 3.1.1. Source: "Communicate with DPS using the MQTT protocol". */
export class ProvisioningMqtt {
  readonly #broker: Aedes;
  readonly #parts: Parts;
  /** Streams whose clients have not sent a CONNECT yet. */
  readonly #streams = new WeakMap<
    Client,
    { readonly tls: TLSSocket; readonly transport: RequestRecord['transport'] }
  >();
  readonly #sessions = new WeakMap<Client, Session>();

  private constructor(broker: Aedes, parts: Parts) {
    this.#broker = broker;
    this.#parts = parts;
  }

  static async open(parts: Parts): Promise<ProvisioningMqtt> {
    const broker = await Aedes.createBroker();
    const server = new ProvisioningMqtt(broker, parts);
    broker.preConnect = (client, packet, done) => {
      packet.clean = true; // the service keeps no sessions, regardless of the request
      if (packet.protocolVersion === 4) grantAtMostQos1(client);
      else refuseVersion(client);
      done(null, packet.protocolVersion === 4);
    };
    broker.authenticate = (client, userName, password, done) => {
      const reason = server.#connect(client, userName ?? '', password?.toString());
      if (reason === 'reset') return void client.conn.destroy();
      done(reason === undefined ? null : Object.assign(new Error(reason), { returnCode: NOT_AUTHORIZED }), !reason);
    };
    broker.authorizeSubscribe = (client, subscription, done) => {
      const session = server.#sessions.get(client);
      if (session === undefined || subscription.topic !== RESPONSES)
        return done(new Error(`${subscription.topic} is not a documented filter`));
      session.qos = subscription.qos === 0 ? 0 : 1;
      done(null, subscription);
    };
    broker.authorizePublish = (client, packet, done) => done(client === null ? null : server.#publish(client, packet));
    // Only responses: the service is not a publish-subscribe broker.
    broker.authorizeForward = (_client, packet) => (packet.topic.startsWith('$dps/registrations/res/') ? packet : null);
    broker.on('clientError', () => {}); // the client has disconnected, or was refused
    broker.on('connectionError', () => {});
    return server;
  }

  /**
   * @param stream with MQTT packets
   * @param tls the TLS stream below it, or the same
   */
  accept(stream: Duplex, tls: TLSSocket, transport: RequestRecord['transport']): void {
    this.#streams.set(this.#broker.handle(stream), { tls, transport });
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#broker.close(resolve));
  }

  /** @returns the reason for a refusal, or `undefined` */
  #connect(client: Client, userName: string, password: string | undefined): string | undefined {
    const { faults, requests } = this.#parts;
    const stream = this.#streams.get(client);
    if (stream === undefined) return 'the connection is closed';
    const [, idScope = '', registrationId = ''] =
      /^([^/]+)\/registrations\/([^/]+)\/\??api-version=.+$/s.exec(userName) ?? [];
    const { transport } = stream;
    const record = (outcome: Partial<RequestRecord>) =>
      requests.add({ transport, operation: 'connect', path: userName, subject: registrationId, ...outcome });
    const fault = faults.trigger('connect', transport);
    if (fault !== undefined) {
      const { kind } = fault;
      record({ fault: kind, ...(kind === 'status' ? { status: NOT_AUTHORIZED } : {}) });
      return kind === 'status' ? 'refused by a fault' : 'reset';
    }
    const caller = {
      idScope,
      registrationId,
      proof: { chain: certificatesOf(stream.tls), token: password || undefined },
    };
    const refusal = this.#refusalOf(caller, client.id);
    record(refusal === undefined ? { status: 0 } : { status: NOT_AUTHORIZED, reason: refusal });
    if (refusal === undefined) this.#sessions.set(client, { caller, transport });
    return refusal;
  }

  #refusalOf(caller: Caller, clientId: string): string | undefined {
    const { registrationId } = caller;
    if (registrationId === '') return 'the user name is not {idScope}/registrations/{registrationId}/api-version=…';
    if (clientId !== registrationId) return `the client id is "${clientId}", not "${registrationId}"`;
    try {
      this.#parts.registrations.authenticate(caller);
      return undefined;
    } catch (error) {
      return error instanceof ProvisioningError ? error.reason : messageOf(error);
    }
  }

  /** @returns an error if the connection must be closed, else null */
  #publish(client: Client, { topic, payload, qos }: PublishPacket): Error | null {
    const session = this.#sessions.get(client);
    const [path = '', query = ''] = topic.split('?', 2);
    const parameters = new URLSearchParams(query);
    const requestId = requestIdIn(query);
    if (session === undefined || qos === 2 || requestId === undefined) return new Error(`published to ${topic}`);
    const { registrations } = this.#parts;
    const { caller } = session;
    if (path === REGISTER) {
      const body = parse(payload.toString());
      void this.#respond(client, session, topic, 'register', requestId, () => registrations.register(caller, body));
    } else if (path === OPERATION_STATUS) {
      const id = parameters.get('operationId') ?? '';
      void this.#respond(client, session, topic, 'operation', requestId, () =>
        registrations.operationStatus(caller, id),
      );
    } else {
      return new Error(`published to ${topic}`);
    }
    return null;
  }

  async #respond(
    client: Client,
    session: Session,
    topic: string,
    operation: string,
    requestId: string,
    run: () => Answer,
  ): Promise<void> {
    const { faults, requests, clock } = this.#parts;
    const { transport, caller } = session;
    const fault = faults.trigger(operation, transport);
    const record = (outcome: Partial<RequestRecord>) =>
      requests.add({ transport, operation, path: topic, subject: caller.registrationId, ...outcome });
    if (fault !== undefined && fault.kind !== 'slow') {
      const status = this.#applyFault(client, session, requestId, fault);
      return record({ fault: fault.kind, ...(status === undefined ? {} : { status }) });
    }
    if (fault !== undefined) await clock.sleep(milliseconds(fault.ms ?? 1_000));
    const { status, body, retryAfterSeconds, reason } = this.#answerOf(run);
    this.#send(client, session, requestId, status, JSON.stringify(body), retryAfterSeconds);
    record({
      status,
      ...(reason === undefined ? {} : { reason }),
      ...(fault === undefined ? {} : { fault: fault.kind }),
    });
  }

  /** An internal error of the emulator is answered, as over HTTPS, and does not terminate the process. */
  #answerOf(run: () => Answer): Answer {
    try {
      return run();
    } catch (error) {
      const body = errorDetails(500001, messageOf(error), this.#parts.clock.now());
      return { status: 500, body, reason: messageOf(error) };
    }
  }

  /** @returns the status that was sent, if any */
  #applyFault(client: Client, session: Session, requestId: string, fault: ServiceFault): number | undefined {
    const { kind, status = 503, retryAfterSeconds, message = 'by a fault' } = fault;
    if (kind === 'reset') client.conn.destroy();
    if (kind !== 'status' && kind !== 'garbage') return undefined;
    const details = errorDetails(status * 1_000 + 1, message, this.#parts.clock.now());
    const text = kind === 'garbage' ? GARBAGE : JSON.stringify(details);
    this.#send(client, session, requestId, kind === 'garbage' ? 200 : status, text, retryAfterSeconds);
    return kind === 'garbage' ? 200 : status;
  }

  #send(
    client: Client,
    { qos }: Session,
    requestId: string,
    status: number,
    payload: string,
    retryAfterSeconds: number | undefined,
  ): void {
    if (qos === undefined || client.closed) return; // the device has not subscribed, or has disconnected
    const retryAfter = retryAfterSeconds === undefined ? '' : `&retry-after=${retryAfterSeconds}`;
    const topic = `$dps/registrations/res/${status}/?$rid=${requestId}${retryAfter}`;
    client.publish({ cmd: 'publish', topic, payload, qos, dup: false, retain: false }, () => {});
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
