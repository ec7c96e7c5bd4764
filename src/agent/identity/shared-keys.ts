import type { Clock } from '../../core/base/clock.ts';
import { toAgentError } from '../../core/base/errors.ts';
import { HubFailure } from '../../core/contract/hub.ts';
import type { Identity, ModuleAddress, Presentation, PresentOptions } from './identity.ts';
import { signModuleToken } from './sas-token.ts';

/** A module's key, and where it is from. */
export interface SharedKey {
  /** For the status: `primary` or `secondary`. */
  readonly source: string;
  /** Base64. Secret. */
  readonly key: string;
}

/** The module and the keys that it may use, in the order in which they are tried. */
export interface KeyRing {
  readonly module: ModuleAddress;
  readonly keys: readonly [SharedKey, ...SharedKey[]];
}

/**
 * Signs tokens with the module's keys. When the hub refuses one, the next one is tried at once; the one that worked is
 * kept until it is refused or a file changes.
 */
export class SharedKeyIdentity implements Identity {
  readonly kind: string;
  readonly isLocal = true;
  readonly files: readonly string[];
  readonly namedBy: string | undefined;
  readonly #read: () => KeyRing;
  readonly #clock: Clock;
  #ring: KeyRing;
  #source: string;
  /** Refused since a key was last accepted or changed. */
  readonly #refused = new Set<string>();

  /**
   * @param read reads the files; is called at each connection
   * @throws what `read` throws
   */
  constructor(options: {
    kind: string;
    files: readonly string[];
    namedBy?: string | undefined;
    read: () => KeyRing;
    clock: Clock;
  }) {
    this.kind = options.kind;
    this.files = options.files;
    this.namedBy = options.namedBy;
    this.#read = options.read;
    this.#clock = options.clock;
    this.#ring = this.#read();
    this.#source = this.#ring.keys[0].source;
  }

  async present({ onStep }: PresentOptions): Promise<Presentation> {
    const { module, key, source } = this.#current();
    onStep?.({
      name: 'identity',
      text: `${module.deviceId}/${module.moduleId} at ${module.hostName}, by ${this.kind}`,
    });
    return { module, proof: signModuleToken(module, key, this.#clock.now()), source };
  }

  accepted(): void {
    this.#refused.clear();
  }

  failed({ source }: Presentation, failure: HubFailure): boolean {
    if (!isRefusedByHub(failure)) return false;
    this.#refused.add(source);
    const next = this.#ring.keys.find((other) => !this.#refused.has(other.source));
    this.#source = next?.source ?? this.#ring.keys[0].source;
    if (next === undefined) this.#refused.clear();
    return next !== undefined;
  }

  secrets(): readonly string[] {
    return this.#ring.keys.map(({ key }) => key);
  }

  #current(): SharedKey & { module: ModuleAddress } {
    const before = this.#ring;
    try {
      this.#ring = this.#read();
    } catch (error) {
      throw new HubFailure(toAgentError(error), 'credentials');
    }
    const { module, keys } = this.#ring;
    const keyOf = ({ keys }: KeyRing, source: string) => keys.find((one) => one.source === source)?.key;
    if (keys.some(({ source, key }) => key !== keyOf(before, source))) {
      this.#refused.clear();
      this.#source = keys[0].source;
    }
    const current = keys.find(({ source }) => source === this.#source) ?? keys[0];
    return { ...current, module };
  }
}

/**
 * Whether the hub itself refused what was presented. An operator must correct a proxy that refuses, or a file of
 * authorities, too (`retryCause: 'credentials'`), but neither says anything about the keys.
 */
export const isRefusedByHub = ({ error, retryCause }: HubFailure): boolean =>
  retryCause === 'credentials' && ['CREDENTIAL_REFUSED', 'MODULE_UNKNOWN'].includes(error.id);
