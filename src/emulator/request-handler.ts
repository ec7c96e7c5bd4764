import type { EventEmitter } from 'node:events';
import type { Clock } from '../core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../core/base/duration.ts';
import { type Admission, authenticate, CONNACK, type Credentials, type Verdict } from './authenticate.ts';
import type { Connection } from './connection.ts';
import { ConnectionLog, type ConnectionRecord } from './connection-log.ts';
import type { Faults } from './faults.ts';
import { type ModuleId, nameOf } from './identity.ts';
import { MessageLog } from './message-log.ts';
import { MethodCalls } from './method-calls.ts';
import type { Acknowledgement, Decisions, Packet } from './mqtt-server.ts';
import type { Registry } from './registry.ts';
import { maySubscribe, parseTopic } from './topics.ts';
import { serveTwin, type TwinOperation } from './twin-requests.ts';

/** The state and settings that decide about requests. */
export interface Hub {
  readonly hostName: string;
  readonly registry: Registry;
  readonly faults: Faults;
  readonly clock: Clock;
  readonly skewTolerance: Duration;
  /** Emits the events of HubEmulator. */
  readonly events: EventEmitter;
}

const TWIN_OPERATIONS_KEPT = 10_000;

/** Decides and records every MQTT request. */
export class RequestHandler implements Decisions {
  /** Live connections by module name; at most one per module. */
  readonly live = new Map<string, Connection>();
  readonly messages = new MessageLog();
  readonly connections = new ConnectionLog();
  readonly twinOperations: TwinOperation[] = [];
  readonly methods: MethodCalls;
  readonly #records = new WeakMap<Connection | Admission, ConnectionRecord>();
  readonly #hub: Hub;

  constructor(hub: Hub) {
    this.#hub = hub;
    this.methods = new MethodCalls(hub.clock);
  }

  admit(credentials: Credentials, over: Pick<ConnectionRecord, 'transport' | 'tlsVersion'>): Verdict | 'reset' {
    const verdict = this.#decide(credentials);
    const { clientId } = credentials;
    const record = this.connections.add({ connectedAt: this.#hub.clock.now(), clientId, ...over }, verdict);
    if (verdict !== 'reset' && verdict.admitted) this.#records.set(verdict, record);
    this.#hub.events.emit('connection', record);
    return verdict;
  }

  #decide(credentials: Credentials): Verdict | 'reset' {
    const { faults, hostName, registry, clock, skewTolerance } = this.#hub;
    const refuse = (returnCode: number): Verdict => ({ admitted: false, returnCode, reason: 'refused by a fault' });
    if (faults.trigger('resetOnConnect') !== undefined) return 'reset';
    if (faults.trigger('serverUnavailable') !== undefined) return refuse(CONNACK.serverUnavailable);
    if (faults.trigger('refuseConnections') !== undefined) return refuse(CONNACK.notAuthorized);
    return authenticate(credentials, { hostName, registry, now: clock.now(), skewTolerance });
  }

  /** One connection per module: aedes closes the older one (MQTT 3.1.1, 3.1.4-2; error 400027 of IoT Hub). */
  opened(connection: Connection, verdict: Admission): void {
    const { clock } = this.#hub;
    const name = nameOf(connection.module);
    const older = this.live.get(name);
    if (older !== undefined) older.closedBecause ??= 'a newer connection of the same module';
    this.live.set(name, connection);
    const record = this.#records.get(verdict);
    if (record !== undefined) this.#records.set(connection, record);
    if (verdict.expiresAt === undefined) return;
    const left = milliseconds(verdict.expiresAt.getTime() - clock.now().getTime());
    void clock.sleep(left, connection.closed.signal).then(() => {
      if (!connection.closed.signal.aborted) connection.close('its token expired');
    });
  }

  closed(connection: Connection): void {
    const name = nameOf(connection.module);
    if (this.live.get(name) === connection) this.live.delete(name);
    const record = this.#records.get(connection);
    if (record === undefined) return;
    const closedBecause = connection.closedBecause ?? 'the client closed it';
    Object.assign(record, { closedAt: this.#hub.clock.now(), closedBecause });
    this.#hub.events.emit('disconnection', record);
  }

  maySubscribe({ module }: Connection, filter: string): boolean {
    return maySubscribe(filter, module);
  }

  subscribed(connection: Connection): void {
    this.#hub.events.emit('subscription', connection);
  }

  take(connection: Connection, packet: Packet): Acknowledgement {
    const { module } = connection;
    const request = parseTopic(packet.topic, module);
    if (request === undefined) throw new Error(`published to ${packet.topic}`);
    if (request.kind === 'telemetry') return this.#takeMessage(module, packet, request.propertyBag);
    if (request.kind === 'methodResponse') {
      this.methods.answered(connection, request.requestId, request.status, packet.payload.toString());
      return { after: milliseconds(0) };
    }
    const { clock, faults, registry, events } = this.#hub;
    if (faults.trigger('quotaExceeded', ({ twinSays = false }) => !twinSays) !== undefined)
      throw new Error('403002 by a fault');
    const twin = registry.twinOf(module);
    const status = serveTwin(request, packet.payload.toString(), { twin, connection, faults, clock });
    const at = clock.now();
    this.twinOperations.push({ at, ...module, kind: request.kind, ...(status === undefined ? {} : { status }) });
    if (this.twinOperations.length > TWIN_OPERATIONS_KEPT) this.twinOperations.shift();
    if (status === 204) events.emit('reported', { at, ...module, reported: twin.document().reported });
    return { after: milliseconds(0) };
  }

  /** Number of messages received within the last minute. */
  #lastMinute(): number {
    const since = this.#hub.clock.now().getTime() - minutes(1);
    const { all } = this.messages;
    let count = 0;
    while ((all.at(-1 - count)?.enqueuedAt.getTime() ?? since) > since) count += 1;
    return count;
  }

  #takeMessage(module: ModuleId, { payload, isWill, retain }: Packet, propertyBag: string): Acknowledgement {
    const { clock, faults, events } = this.#hub;
    if (faults.trigger('resetOnPublish') !== undefined) return 'reset';
    if (faults.trigger('quotaExceeded') !== undefined) throw new Error('403002 by a fault');
    if (faults.trigger('closeOnText', ({ text = '' }) => payload.includes(text)) !== undefined)
      throw new Error('closed by a fault: the message contains its text');
    if (faults.trigger('throttleMessages', ({ perMinute = 60 }) => this.#lastMinute() >= perMinute) !== undefined)
      throw new Error('429002 by a fault');
    if (faults.trigger('ignoreMessages') !== undefined) return 'never';
    const stamps = `${isWill ? '&iothub-MessageType=Will' : ''}${retain ? '&mqtt-retain=true' : ''}`;
    const properties = `${propertyBag}${stamps}`;
    events.emit('message', this.messages.add(module, payload, properties, clock.now()));
    if (faults.trigger('dropAcknowledgements') !== undefined) return 'never';
    const delay = faults.trigger('delayAcknowledgements');
    return { after: milliseconds(delay === undefined ? 0 : (delay.ms ?? 1_000)) };
  }
}
