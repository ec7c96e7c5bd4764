import { randomBytes, randomInt, type X509Certificate } from 'node:crypto';
import { readAuthority } from './client-certificates.ts';
import {
  type Credential,
  checkIdentity,
  type EmulatedDevice,
  type EmulatedModule,
  type IdentityId,
  type ModuleId,
  nameOf,
  type Registration,
  type Status,
} from './identity.ts';
import { Twin } from './twin.ts';

/** A device as registered. */
export type RegisteredDevice = Registration & { readonly deviceId: string };
/** A module as registered. */
export type RegisteredModule = Registration & ModuleId;

/** Which of the two keys to make anew. */
export type WhichKey = 'primary' | 'secondary' | 'both';

/** The hub's identity registry: devices, and their modules, each module with its twin. */
export class Registry {
  readonly #devices = new Map<string, RegisteredDevice>();
  readonly #modules = new Map<string, { module: RegisteredModule; readonly twin: Twin }>();

  #authorities: X509Certificate[] = [];

  /** The authorities whose certificates devices and modules may present. */
  get authorities(): readonly X509Certificate[] {
    return this.#authorities;
  }

  /** @throws RangeError if the certificate is not an authority's */
  addAuthority(pem: string): void {
    this.#authorities = [...this.#authorities, readAuthority(pem)];
  }

  removeAuthority(pem: string): void {
    const { fingerprint256 } = readAuthority(pem);
    this.#authorities = this.#authorities.filter((authority) => authority.fingerprint256 !== fingerprint256);
  }

  get devices(): RegisteredDevice[] {
    return [...this.#devices.values()];
  }

  get modules(): RegisteredModule[] {
    return [...this.#modules.values()].map(({ module }) => module);
  }

  /** Adds a device, or replaces credential and status of an existing one. @throws RangeError */
  addDevice({ deviceId, credential = randomKeys(), status }: EmulatedDevice): RegisteredDevice {
    checkIdentity({ deviceId }, credential);
    const device = revised({ deviceId }, this.#devices.get(deviceId), credential, status);
    this.#devices.set(deviceId, device);
    return device;
  }

  /**
   * Adds a module with an empty twin, or replaces credential and status of an existing one. A missing device is added.
   *
   * @throws RangeError for an invalid id or credential
   */
  addModule(module: EmulatedModule): RegisteredModule {
    const { deviceId, moduleId, status } = module;
    const credential = module.credential ?? keysOf(module);
    const id = { deviceId, moduleId };
    checkIdentity(id, credential);
    if (!this.#devices.has(deviceId)) this.addDevice({ deviceId });
    const known = this.#modules.get(nameOf(id));
    const registered = revised(id, known?.module, credential, status);
    this.#modules.set(nameOf(id), { module: registered, twin: known?.twin ?? new Twin() });
    return registered;
  }

  /** Removes a device and its modules. @returns whether it existed */
  removeDevice(deviceId: string): boolean {
    for (const module of this.modulesOf(deviceId)) this.removeModule(module);
    return this.#devices.delete(deviceId);
  }

  /** @returns whether it existed */
  removeModule(module: ModuleId): boolean {
    return this.#modules.delete(nameOf(module));
  }

  device(deviceId: string): RegisteredDevice | undefined {
    return this.#devices.get(deviceId);
  }

  module(module: ModuleId): RegisteredModule | undefined {
    return this.#modules.get(nameOf(module))?.module;
  }

  modulesOf(deviceId: string): RegisteredModule[] {
    return this.modules.filter((module) => module.deviceId === deviceId);
  }

  /** Whether the identity and, for a module, its device may connect. */
  isEnabled({ deviceId, moduleId }: IdentityId): boolean {
    const module = moduleId === undefined ? undefined : this.module({ deviceId, moduleId });
    return this.device(deviceId)?.status !== 'disabled' && module?.status !== 'disabled';
  }

  /** @throws RangeError if the identity does not exist */
  setStatus(id: IdentityId, status: Status): void {
    this.#replace(id, ({ credential }) => ({ credential, status }));
  }

  /** Makes random keys. @throws RangeError if the identity does not exist or has no keys */
  regenerateKeys(id: IdentityId, which: WhichKey): Credential & { type: 'sas' } {
    const fresh = randomKeys();
    return this.#replace(id, ({ credential: old, status }) => {
      if (old.type !== 'sas') throw new RangeError(`${nameOf(id)} has no keys.`);
      const primaryKey = which === 'secondary' ? old.primaryKey : fresh.primaryKey;
      const secondaryKey = which === 'primary' ? old.secondaryKey : fresh.secondaryKey;
      return { credential: { type: 'sas', primaryKey, secondaryKey }, status };
    }).credential as Credential & { type: 'sas' };
  }

  /** @throws RangeError if the module does not exist */
  twinOf(module: ModuleId): Twin {
    const known = this.#modules.get(nameOf(module));
    if (known === undefined) throw new RangeError(`Module ${nameOf(module)} does not exist.`);
    return known.twin;
  }

  #replace(
    { deviceId, moduleId }: IdentityId,
    change: (identity: Registration) => { credential: Credential; status: Status },
  ): Registration {
    const identity = moduleId === undefined ? this.device(deviceId) : this.module({ deviceId, moduleId });
    if (identity === undefined) throw new RangeError(`${nameOf({ deviceId, moduleId })} does not exist.`);
    const changed = change(identity);
    return moduleId === undefined
      ? this.addDevice({ deviceId, ...changed })
      : this.addModule({ deviceId, moduleId, ...changed });
  }
}

/** 32 random bytes each, as a hub makes them. */
export const randomKeys = (): Credential & { type: 'sas' } => ({
  type: 'sas',
  primaryKey: randomBytes(32).toString('base64'),
  secondaryKey: randomBytes(32).toString('base64'),
});

function keysOf({ primaryKey, secondaryKey }: EmulatedModule): Credential {
  const random = randomKeys();
  return {
    type: 'sas',
    primaryKey: primaryKey ?? random.primaryKey,
    secondaryKey: secondaryKey ?? random.secondaryKey,
  };
}

function revised<T extends IdentityId>(
  id: T,
  known: Registration | undefined,
  credential: Credential,
  status: Status | undefined,
): T & Registration {
  return {
    ...id,
    credential: { ...credential },
    status: status ?? known?.status ?? 'enabled',
    generationId: known?.generationId ?? newGenerationId(),
    etag: randomBytes(8).toString('base64'),
  };
}

/** A hub's generation ids are decimal numbers of 18 digits. */
const newGenerationId = () => `6${Array.from({ length: 17 }, () => randomInt(10)).join('')}`;
