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

/** Which of the two keys to regenerate. */
export type WhichKey = 'primary' | 'secondary' | 'both';

/** A device with its twin, which is created at its first change: most devices never have one. */
interface DeviceEntry {
  device: RegisteredDevice;
  twin?: Twin;
  readonly modules: ModuleEntry[];
}

interface ModuleEntry {
  module: RegisteredModule;
  readonly twin: Twin;
}

/** The hub's identity registry: devices, and their modules, each with its twin. */
export class Registry {
  readonly #devices = new Map<string, DeviceEntry>();
  readonly #modules = new Map<string, ModuleEntry>();

  #authorities: X509Certificate[] = [];

  /** The authorities whose certificates devices and modules may present. */
  get authorities(): readonly X509Certificate[] {
    return this.#authorities;
  }

  /** @throws RangeError if the certificate is not that of an authority */
  addAuthority(pem: string): void {
    this.#authorities = [...this.#authorities, readAuthority(pem)];
  }

  removeAuthority(pem: string): void {
    const { fingerprint256 } = readAuthority(pem);
    this.#authorities = this.#authorities.filter((authority) => authority.fingerprint256 !== fingerprint256);
  }

  get devices(): RegisteredDevice[] {
    return [...this.#devices.values()].map(({ device }) => device);
  }

  /** Number of devices. */
  get size(): number {
    return this.#devices.size;
  }

  /** The devices with their twins, in the order in which they were added; nothing is copied. */
  *deviceTwins(): Generator<{ readonly device: RegisteredDevice; readonly twin: Twin }> {
    for (const { device, twin = NEW_TWIN } of this.#devices.values()) yield { device, twin };
  }

  /** The modules with their twins, in the order in which they were added; nothing is copied. */
  moduleTwins(): Iterable<{ readonly module: RegisteredModule; readonly twin: Twin }> {
    return this.#modules.values();
  }

  get modules(): RegisteredModule[] {
    return [...this.#modules.values()].map(({ module }) => module);
  }

  /** Adds a device, or replaces credential and status of an existing one. @throws RangeError */
  addDevice({ deviceId, credential = randomKeys(), status }: EmulatedDevice): RegisteredDevice {
    checkIdentity({ deviceId }, credential);
    const known = this.#devices.get(deviceId);
    const device = revised({ deviceId }, known?.device, credential, status);
    if (known === undefined) this.#devices.set(deviceId, { device, modules: [] });
    else known.device = device;
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
    if (known !== undefined) known.module = registered;
    else {
      const entry = { module: registered, twin: new Twin() };
      this.#modules.set(nameOf(id), entry);
      this.#devices.get(deviceId)?.modules.push(entry);
    }
    return registered;
  }

  /** Removes a device and its modules. @returns whether it existed */
  removeDevice(deviceId: string): boolean {
    for (const module of this.modulesOf(deviceId)) this.removeModule(module);
    return this.#devices.delete(deviceId);
  }

  /** @returns whether it existed */
  removeModule(module: ModuleId): boolean {
    const entry = this.#modules.get(nameOf(module));
    const siblings = this.#devices.get(module.deviceId)?.modules;
    if (entry !== undefined) siblings?.splice(siblings.indexOf(entry), 1);
    return this.#modules.delete(nameOf(module));
  }

  device(deviceId: string): RegisteredDevice | undefined {
    return this.#devices.get(deviceId)?.device;
  }

  module(module: ModuleId): RegisteredModule | undefined {
    return this.#modules.get(nameOf(module))?.module;
  }

  modulesOf(deviceId: string): RegisteredModule[] {
    return this.#devices.get(deviceId)?.modules.map(({ module }) => module) ?? [];
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

  /** Replaces keys with random ones. @throws RangeError if the identity does not exist or has no keys */
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

  /** The twin of a device, which modules cannot see. @throws RangeError if the device does not exist */
  twinOfDevice(deviceId: string): Twin {
    const known = this.#devices.get(deviceId);
    if (known === undefined) throw new RangeError(`Device ${deviceId} does not exist.`);
    known.twin ??= new Twin();
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

/** The twin of a device that was never changed. */
const NEW_TWIN = new Twin();

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
const newGenerationId = () => `6${String(randomInt(1e8)).padStart(8, '0')}${String(randomInt(1e9)).padStart(9, '0')}`;
