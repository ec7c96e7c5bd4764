import type { Registration } from '../identity.ts';
import type { RegisteredDevice, RegisteredModule } from '../registry.ts';
import type { Twin } from '../twin.ts';

/** The members of a twin as the service sees it. Queries match them case-insensitively. */
export const MEMBERS = [
  'deviceId',
  'moduleId',
  'etag',
  'deviceEtag',
  'status',
  'statusUpdateTime',
  'connectionState',
  'lastActivityTime',
  'cloudToDeviceMessageCount',
  'authenticationType',
  'x509Thumbprint',
  'version',
  'tags',
  'properties',
] as const;
type Member = (typeof MEMBERS)[number];

const BY_LOWER_CASE: ReadonlyMap<string, Member> = new Map(MEMBERS.map((name) => [name.toLowerCase(), name]));

/** Earlier than any time at a hub. */
const NEVER = '0001-01-01T00:00:00Z';

/** The identity that a twin belongs to. */
export type Owner = (RegisteredDevice | RegisteredModule) & { readonly moduleId?: string };

/** A twin as the service sees it, without metadata. Its members are created on demand. */
export class QueryDocument {
  readonly #owner: Owner;
  readonly #twin: Twin;
  readonly #isConnected: () => boolean;

  constructor(owner: Owner, twin: Twin, isConnected: () => boolean) {
    this.#owner = owner;
    this.#twin = twin;
    this.#isConnected = isConnected;
  }

  /** The value of a member by its case-insensitive name; `undefined` if it does not exist. */
  member(name: string): unknown {
    const member = BY_LOWER_CASE.get(name.toLowerCase());
    return member === undefined ? undefined : this.#value(member);
  }

  /** The whole twin. Must not be changed: it is the hub's own. */
  whole(): Record<string, unknown> {
    const members = MEMBERS.map((name) => [name, this.#value(name)]).filter(([, value]) => value !== undefined);
    return Object.fromEntries(members);
  }

  #value(name: Member): unknown {
    const { deviceId, moduleId, etag, status, credential } = this.#owner;
    switch (name) {
      case 'deviceId':
        return deviceId;
      case 'moduleId':
        return moduleId;
      case 'etag':
        return this.#twin.etag;
      case 'deviceEtag':
        return etag;
      case 'status':
        return status;
      case 'statusUpdateTime':
      case 'lastActivityTime':
        return NEVER;
      case 'connectionState':
        return this.#isConnected() ? 'Connected' : 'Disconnected';
      case 'cloudToDeviceMessageCount':
        return 0;
      case 'authenticationType':
        return credential.type;
      case 'x509Thumbprint':
        return thumbprintsOf(credential);
      case 'version':
        return this.#twin.version;
      case 'tags':
        return this.#twin.tags;
      case 'properties':
        return { desired: this.#twin.desired, reported: this.#twin.reported };
    }
  }
}

function thumbprintsOf(credential: Registration['credential']) {
  const { primaryThumbprint = null, secondaryThumbprint = null } = credential.type === 'selfSigned' ? credential : {};
  return { primaryThumbprint, secondaryThumbprint };
}
