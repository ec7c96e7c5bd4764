import type { Logger } from './log.ts';

/** A part of the agent that runs until it is stopped. */
export interface Service {
  readonly name: string;
  /** Resolves once it works; rejects if it cannot. Long work continues in the background. */
  start(): Promise<void>;
  /** Resolves once it has released everything. Safe to call twice, and before `start`. */
  stop(): Promise<void>;
}

/**
 * Starts services in order and stops them in reverse order, even if a service fails.
 *
 * If a service cannot start, the run is aborted. If a service cannot stop, that is logged, and the others still stop.
 *
 * @param until resolves when the process should end, for example on SIGTERM
 */
export async function runServices(services: readonly Service[], until: Promise<unknown>, log: Logger): Promise<void> {
  const started: Service[] = [];
  try {
    for (const service of services) {
      started.unshift(service);
      await service.start();
      log.debug({ service: service.name }, 'Started.');
    }
    await until;
  } finally {
    for (const service of started) {
      try {
        await service.stop();
      } catch (error) {
        log.error({ service: service.name, err: error }, 'Could not stop.');
      }
    }
  }
}
