/** A module of a device at a hub, with its credential. */
export interface ModuleIdentity {
  /** `identity.kind` of the local file. */
  readonly kind: string;
  readonly hostName: string;
  readonly deviceId: string;
  readonly moduleId: string;
  /** Gateway to connect to instead of `hostName`, with an optional port. */
  readonly gatewayHostName?: string;
  /** Base64. */
  readonly sharedAccessKey: string;
}
