import type { Clock } from '../../core/base/clock.ts';
import type { Duration } from '../../core/base/duration.ts';
import type { Endpoint } from './endpoint.ts';
import { ServiceFaults } from './faults.ts';
import { RequestLog, type RequestRecord } from './request-log.ts';

/** Common part of the services next to the hub: faults, received requests, and listeners that can be closed. */
export abstract class EmulatedService {
  readonly faults: ServiceFaults;
  protected readonly clock: Clock;
  protected readonly log: RequestLog;

  protected constructor(clock: Clock) {
    this.clock = clock;
    this.faults = new ServiceFaults(clock);
    this.log = new RequestLog(clock);
  }

  /** The endpoints on which it listens. */
  protected abstract get endpoints(): readonly Endpoint[];

  /** Requests received, oldest first. */
  get requests(): readonly RequestRecord[] {
    return this.log.all;
  }

  /** Resolves with the first matching request, among those before and after the call. */
  waitForRequest(predicate: (record: RequestRecord) => boolean, limit?: Duration): Promise<RequestRecord> {
    return this.log.waitFor(predicate, limit);
  }

  /** Calls `listener` for each later request. */
  onRequest(listener: (record: RequestRecord) => void): void {
    this.log.onRequest(listener);
  }

  /** Closes all connections and listeners, so that new ones are refused; the file of a Unix socket is removed. */
  async offline(): Promise<void> {
    for (const endpoint of this.endpoints) await endpoint.shut();
  }

  /** Listens at the same addresses again. */
  async online(): Promise<void> {
    for (const endpoint of this.endpoints) await endpoint.open();
  }

  async stop(): Promise<void> {
    await this.offline();
    for (const endpoint of this.endpoints) await endpoint.close();
  }
}
