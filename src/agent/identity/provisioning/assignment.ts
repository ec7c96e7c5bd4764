import * as v from 'valibot';
import type { Logger } from '../../../core/base/log.ts';
import { hostNameProblem, isHubId } from '../../../core/contract/hub-names.ts';
import type { StateFolder } from '../../state/state-folder.ts';

/** In characters; the longest name that DNS allows has 253, and a port can follow. */
const LONGEST_HOST = 260;

/** A hub's name, as the service gives it. */
export const AssignedHub = v.pipe(
  v.string(),
  v.maxLength(LONGEST_HOST),
  v.check((name) => hostNameProblem(name) === undefined),
);
/** A device's id at that hub. */
export const AssignedDevice = v.pipe(v.string(), v.check(isHubId));

const Assignment = v.object({
  idScope: v.string(),
  registrationId: v.string(),
  hub: AssignedHub,
  deviceId: AssignedDevice,
});

/** Where a registration leads: the hub, and the device's id there. */
export interface Assignment {
  readonly hub: string;
  readonly deviceId: string;
}

/** Whose assignment it is. */
export interface Registration {
  readonly idScope: string;
  readonly registrationId: string;
}

const FILE = 'assignment.json';

/** The last assignment, in the state directory, so that the agent can start while the service is not reachable. No secret. */
export class AssignmentCache {
  readonly #state: StateFolder;
  readonly #registration: Registration;
  readonly #log: Logger;

  constructor(state: StateFolder, registration: Registration, log: Logger) {
    this.#state = state;
    this.#registration = registration;
    this.#log = log;
  }

  /** @returns `undefined` without a file, or with one that is damaged or is another registration's */
  read(): Assignment | undefined {
    const unusable = (reason: string) =>
      this.#log.warn({ file: FILE, reason }, 'Could not read the saved hub assignment; registering again.');
    const content = this.#state.read(FILE, unusable);
    if (content === undefined) return undefined;
    const kept = v.safeParse(Assignment, content);
    if (!kept.success) {
      unusable('it is not an assignment');
      return undefined;
    }
    const { idScope, registrationId, hub, deviceId } = kept.output;
    // Registration ids are case-insensitive. Source: REST reference, "Register Device".
    const isOwn =
      idScope === this.#registration.idScope &&
      registrationId.toLowerCase() === this.#registration.registrationId.toLowerCase();
    if (isOwn) return { hub, deviceId };
    this.#log.info({ file: FILE }, 'The saved hub assignment belongs to another registration; registering again.');
    return undefined;
  }

  /** Replaces the file in the background. */
  write(assignment: Assignment): void {
    this.#state.write(FILE, { ...this.#registration, ...assignment });
  }
}
