import { AgentError } from '../../core/base/errors.ts';
import { shellWord } from '../../core/base/text.ts';
import { HubFailure } from '../../core/contract/hub.ts';
import { isSameHub } from '../../core/contract/hub-names.ts';
import { hostAndPort } from '../../core/network/address.ts';
import type { IdentityContext, ModuleAddress, Presentation, PresentOptions } from './identity.ts';
import { type DeviceProof, ModuleRegistry } from './module-registry.ts';
import { signModuleToken } from './sas-token.ts';
import { isRefusedByHub, type SharedKey } from './shared-keys.ts';

export interface RegisteredModuleOptions {
  /** Setting `identity.createModule`. */
  readonly createModule: boolean;
  /** Names the device's credential in remedies: `identity.keyFile /etc/vakt/secrets/device.key`. */
  readonly credential: string;
  readonly context: IdentityContext;
}

/** Keys that are no longer in use; more come only from a registry that answers differently each time. */
const MAX_REFUSED = 8;

/**
 * A module whose keys the device reads from the hub's registry, and that it creates there if it is missing. The keys are
 * only in memory, and are read again when the hub has refused them, or when the device's credential has changed.
 */
export class RegisteredModule {
  readonly #options: RegisteredModuleOptions;
  readonly #registry: ModuleRegistry;
  /** The keys of `#module`; none were read yet, or the hub refused them. */
  #keys: readonly SharedKey[] | undefined;
  #module: ModuleAddress | undefined;
  /** What the keys were read with. Secret. */
  #readWith: DeviceProof | undefined;
  /** Whether the keys were read after the last time that the hub accepted one. */
  #isFresh = false;
  #current: SharedKey | undefined;
  /** Keys that were refused since the hub last accepted one. */
  readonly #refused = new Set<string>();

  constructor(options: RegisteredModuleOptions) {
    this.#options = options;
    const { hub, network, clock } = options.context;
    this.#registry = new ModuleRegistry({ endpoint: hub.restEndpoint, network, clock, credential: options.credential });
  }

  /**
   * Signs a token with a key of the module. The hub's registry is asked for the keys if none are known.
   *
   * @throws HubFailure
   */
  async present(module: ModuleAddress, device: DeviceProof, options: PresentOptions): Promise<Presentation> {
    if (this.#keys === undefined || !isSame(module, this.#module) || !isSameProof(device, this.#readWith)) {
      const keys = await this.#read(module, device, options);
      this.#keys = keys;
      this.#module = module;
      this.#readWith = device;
      this.#isFresh = true;
    }
    const current = this.#keys.find(({ key }) => !this.#refused.has(key)) ?? this.#keys[0];
    if (current === undefined) throw new RangeError('the registry returned no keys');
    this.#current = current;
    const { clock } = this.#options.context;
    return {
      module,
      proof: signModuleToken(module, current.key, clock.now()),
      source: current.source,
      ...(device.kind === 'certificate'
        ? { deviceCertificate: { expiresAt: device.expiresAt, dueAt: device.dueAt } }
        : {}),
    };
  }

  /** As of Identity. */
  accepted(): void {
    this.#refused.clear();
    this.#isFresh = false;
  }

  /** As of Identity: after a refusal the keys are read again at once, unless the refused one was read just now. */
  failed(failure: HubFailure): boolean {
    if (!isRefusedByHub(failure) || this.#current === undefined) return false;
    if (this.#refused.size >= MAX_REFUSED) this.#refused.clear();
    this.#refused.add(this.#current.key);
    const hasOther = this.#keys?.some(({ key }) => !this.#refused.has(key)) === true;
    if (this.#isFresh && hasOther) return true;
    const wasFresh = this.#isFresh;
    this.#keys = undefined;
    this.#isFresh = false;
    return !wasFresh;
  }

  /** Keys in memory. */
  secrets(): readonly string[] {
    return [...new Set([...(this.#keys ?? []).map(({ key }) => key), ...this.#refused])];
  }

  async #read(module: ModuleAddress, device: DeviceProof, { signal, onStep }: PresentOptions) {
    const { hostName, deviceId, moduleId } = module;
    const name = `${deviceId}/${moduleId}`;
    const at = hostAndPort(this.#registry.addressFor(hostName));
    const details = [`registry at ${at}, asked as the device ${deviceId} by its ${device.kind}`];
    const known = await this.#registry.read(module, device, signal);
    if (known !== undefined) {
      onStep?.({ name: 'registry', text: `${hostName} has the module ${name}, with keys`, details });
      return known;
    }
    const { createModule, context } = this.#options;
    if (createModule && context.mayCreate) {
      const created = await this.#registry.create(module, device, signal);
      context.log.info({ module: name, hub: hostName }, 'Created the module at the hub, which did not have it.');
      onStep?.({ name: 'registry', text: `created the module ${name} at ${hostName}`, details });
      return created;
    }
    const text = `${hostName} has no module ${name}`;
    const command = `az iot hub module-identity create --hub-name ${shellWord(hostName.split('.')[0] ?? '')} --device-id ${shellWord(deviceId)} --module-id ${shellWord(moduleId)}`;
    const remedy = createModule
      ? `Start the agent, which creates it; or create it: ${command}`
      : `Create it: ${command}; or set identity.createModule to true.`;
    if (createModule) onStep?.({ name: 'registry', text, details, remedy });
    throw new HubFailure(new AgentError('MODULE_UNKNOWN', text, remedy), 'absent');
  }
}

const isSame = (one: ModuleAddress, other: ModuleAddress | undefined): boolean =>
  other !== undefined &&
  isSameHub(one.hostName, other.hostName) &&
  one.deviceId === other.deviceId &&
  one.moduleId === other.moduleId;

const isSameProof = (one: DeviceProof, other: DeviceProof | undefined): boolean =>
  one.kind === other?.kind && one.key === other.key && JSON.stringify(one) === JSON.stringify(other);
