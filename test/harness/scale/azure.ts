import type { Connection } from '../../../src/agent/hub/supervisor.ts';
import type { Clock } from '../../../src/core/base/clock.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { type Answer, HubFailure, type RetryCause, type TwinDocument } from '../../../src/core/contract/hub.ts';
import type { HttpAnswer, HttpRequest } from '../../../src/core/network/http.ts';
import type { Network, Target } from '../../../src/core/network/network.ts';
import { type HubLimits, REGISTRATIONS, Throttle } from './limits.ts';

export const OPERATIONS = ['connections', 'messages', 'twinReads', 'twinUpdates', 'registry', 'registrations'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Maximum time for an answer, in ms. */
const LATENCY = { connections: 600, other: 200 };
const SERVICE_POLL_SECONDS = '3';
const KEY = Buffer.alloc(32, 7).toString('base64');

/** Requests per second, and how many of them were granted. */
export class Requests {
  readonly asked: Record<Operation, number[]> = perOperation();
  readonly granted: Record<Operation, number[]> = perOperation();

  add(operation: Operation, nowMs: number, isGranted: boolean): void {
    const second = Math.floor(nowMs / 1_000);
    this.asked[operation][second] = (this.asked[operation][second] ?? 0) + 1;
    if (isGranted) this.granted[operation][second] = (this.granted[operation][second] ?? 0) + 1;
  }
}

const perOperation = () =>
  Object.fromEntries(OPERATIONS.map((operation) => [operation, []])) as unknown as Record<Operation, number[]>;

/** A connection of one module. */
export class Standing implements Connection {
  readonly lost: Promise<HubFailure>;
  end: (why: HubFailure) => void = () => {};

  constructor(closed: (standing: Standing) => void) {
    this.lost = new Promise((resolve) => {
      this.end = resolve;
    });
    this.close = async () => closed(this);
  }

  readonly close: () => Promise<void>;
  checkPulse(): void {}
  async answered(): Promise<void> {}
  async idle(): Promise<void> {}
}

/** IoT Hub and the provisioning service, reduced to accepting or refusing requests. */
export class Azure {
  readonly record = new Requests();
  /** Whether the limits are enforced. */
  isLimited = false;
  /** Whether the hub, and the service, can be reached. */
  hubIsUp = true;
  serviceIsUp = true;
  /** The hub that the service assigns devices to, and the only hub. */
  hub = 'hub-a.azure-devices.net';
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #throttles: Readonly<Record<Operation, Throttle>>;
  readonly #standing = new Set<Standing>();
  readonly #reported = new Map<number, { version: number; section: Readonly<Record<string, unknown>> }>();

  constructor(limits: HubLimits, clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
    this.#throttles = Object.fromEntries(
      OPERATIONS.map((operation) => [
        operation,
        new Throttle(operation === 'registrations' ? REGISTRATIONS : limits[operation]),
      ]),
    ) as Record<Operation, Throttle>;
  }

  /** All HTTPS requests: to the hub's registry, and to the service. */
  readonly network = {
    request: (target: Target, request: HttpRequest) => this.#answer(target, request),
    connect: () => Promise.reject(refused()),
  } as unknown as Network;

  /** Makes the hub unavailable, which closes all connections. */
  hubFails(): void {
    this.hubIsUp = false;
    for (const standing of this.#standing) standing.end(failure('network', 'the hub closed it'));
    this.#standing.clear();
  }

  /** @throws HubFailure */
  async connect(hub: string): Promise<Standing> {
    await this.#pass(LATENCY.connections);
    if (!this.#take('connections', this.hubIsUp && hub === this.hub))
      throw failure('network', 'the hub is not available');
    const standing = new Standing((closed) => this.#standing.delete(closed));
    this.#standing.add(standing);
    return standing;
  }

  async readTwin(device: number): Promise<Answer<TwinDocument>> {
    await this.#pass(LATENCY.other);
    if (!this.#take('twinReads')) return failure('throttled', '429').answer;
    const { version, section } = this.#reported.get(device) ?? { version: 1, section: {} };
    return { status: 'accepted', value: { desired: { $version: 1 }, reported: { ...section, $version: version } } };
  }

  async report(device: number, patch: Readonly<Record<string, unknown>>): Promise<Answer<number | undefined>> {
    await this.#pass(LATENCY.other);
    if (!this.#take('twinUpdates')) return failure('throttled', '429').answer;
    const { version, section } = this.#reported.get(device) ?? { version: 1, section: {} };
    this.#reported.set(device, { version: version + 1, section: { ...section, ...patch } });
    return { status: 'accepted', value: version + 1 };
  }

  /** Messages above the limit are only counted: it is not published how many a hub delays before it closes a connection. */
  async send(): Promise<Answer<void>> {
    await this.#pass(LATENCY.other);
    this.#take('messages');
    return { status: 'accepted', value: undefined };
  }

  async #answer({ host }: Target, { method, path }: HttpRequest): Promise<HttpAnswer> {
    await this.#pass(LATENCY.other);
    if (path.includes('/modules/')) {
      if (!this.hubIsUp || host !== this.hub) throw refused();
      if (!this.#take('registry')) return answer(429, { Message: 'ErrorCode:ThrottlingException;' });
      const symmetricKey = { primaryKey: KEY, secondaryKey: KEY };
      return answer(200, { authentication: { type: 'sas', symmetricKey } });
    }
    if (method === 'PUT') {
      const isGranted = this.#take('registrations', this.serviceIsUp);
      if (!this.serviceIsUp) throw refused();
      if (!isGranted) return answer(429, { message: 'throttled' });
      return answer(202, { operationId: 'one', status: 'assigning' });
    }
    const state = { status: 'assigned', assignedHub: this.hub, deviceId: path.split('/')[3] ?? '' };
    return answer(200, { status: 'assigned', registrationState: state });
  }

  #take(operation: Operation, isPossible = true): boolean {
    const now = this.#clock.monotonic();
    const isGranted = isPossible && (this.#throttles[operation].admits(now) || !this.isLimited);
    this.record.add(operation, now, isGranted);
    return isGranted;
  }

  #pass(longest: number): Promise<void> {
    return this.#clock.sleep(milliseconds(longest * (0.2 + 0.8 * this.#random())));
  }
}

const answer = (status: number, body: object): HttpAnswer => ({
  status,
  headers: { 'retry-after': status === 202 ? SERVICE_POLL_SECONDS : undefined },
  body: JSON.stringify(body),
});

const failure = (retryCause: RetryCause, message: string): HubFailure =>
  new HubFailure(
    new AgentError(retryCause === 'throttled' ? 'HUB_THROTTLED' : 'HUB_UNREACHABLE', message, ''),
    retryCause,
  );

const refused = () => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
