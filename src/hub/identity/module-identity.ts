/** Who connects: one module of one device at one hub, and what proves it. */
export interface ModuleIdentity {
  /** As the local configuration names it. */
  readonly kind: string;
  readonly hostName: string;
  readonly deviceId: string;
  readonly moduleId: string;
  /** Where to connect to instead of `hostName`; may have a port. */
  readonly gatewayHostName?: string;
  /** Base64. */
  readonly sharedAccessKey: string;
}
