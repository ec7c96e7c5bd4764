import * as v from 'valibot';
import { AgentError } from '../../core/base/errors.ts';
import { HUB_ID, HUB_ID_PROBLEM, hubNamesOf, isSameHub } from '../../core/contract/hub-names.ts';
import { credentialFile, secretFile, text } from '../../core/contract/local-schemas.ts';
import type { Identity, IdentityContext, ModuleAddress } from './identity.ts';

type IdentitySchema = v.StrictObjectSchema<
  { readonly kind: v.LiteralSchema<string, undefined> } & v.ObjectEntries,
  undefined
>;

/** Everything about one kind of identity. To add one: a file that exports it, and a line in kinds.ts. */
export interface IdentityKind<Schema extends IdentitySchema> {
  /** `identity.kind` of the local file. */
  readonly kind: v.InferOutput<Schema>['kind'];
  /** `identity` of the local file. The descriptions become the documentation. */
  readonly schema: Schema;
  /**
   * Code that few devices need is imported by the identity when it is used: what a kind imports statically is loaded by
   * every agent.
   *
   * @throws AgentError for faults that only an operator can fix on the device, such as settings and secret files; the agent
   *   then exits
   */
  create(config: v.InferOutput<Schema>, context: IdentityContext): Identity;
}

export const identityKind = <Schema extends IdentitySchema>(kind: IdentityKind<Schema>): IdentityKind<Schema> => kind;

/* Settings that several kinds of identity share. */

const hubId = (description: string) => v.pipe(text(description), v.regex(HUB_ID, HUB_ID_PROBLEM));

export const DEVICE_ID = hubId("The device's id, as the hub knows it.");
export const MODULE_ID = v.optional(hubId("The module's id."), 'azureiotsecurity');
export const CREATE_MODULE = v.optional(
  v.pipe(
    v.boolean('must be true or false'),
    v.description(
      'Whether the agent creates the module if the hub does not have it. If not, it waits until the module is created.',
    ),
  ),
  true,
);
export const CERTIFICATE_FILE = credentialFile(
  'File with the certificate in PEM form, followed by the certificates of its chain, if it has one.',
);
export const CERTIFICATE_KEY_FILE = secretFile(
  "File with the certificate's private key in PEM form; only its owner may be able to read it.",
);

/** @throws AgentError CONFIG_INCOMPLETE without `hub.hostName`; CONFIG_INVALID for the name of service APIs */
export function moduleAddress(
  { deviceId, moduleId }: { readonly deviceId: string; readonly moduleId: string },
  hub: IdentityContext['hub'],
): ModuleAddress {
  if (hub.hostName === undefined) {
    const remedy = 'Set hub.hostName, for example "contoso.azure-devices.net".';
    throw new AgentError('CONFIG_INCOMPLETE', 'hub.hostName is missing', remedy);
  }
  const { classic, device, service } = hubNamesOf(hubNameOf(hub.hostName));
  if (classic !== service && hubNameOf(hub.hostName).toLowerCase() === service) {
    const message = `hub.hostName is ${hub.hostName}, the hub's name for service APIs, not for devices and modules`;
    throw new AgentError('CONFIG_INVALID', message, `Set hub.hostName to "${classic}" or "${device}".`);
  }
  return addressAt(hub.hostName, { deviceId, moduleId }, hub.gatewayHostName);
}

/** As Identity.namedBy, for an identity that says itself where to connect, unless hub.gatewayHostName does. */
export const namedBy = (source: string, { gatewayHostName }: IdentityContext['hub']): string | undefined =>
  gatewayHostName === undefined ? source : undefined;

/** A hub's name as in user names and tokens: without the port, and without the dot that ends an absolute name of DNS. */
export const hubNameOf = (hub: string): string => hub.replace(/:\d+$/, '').replace(/\.$/, '');

/** Whether two hubs are one, however they are written. @param one with or without a port */
export const areSameHub = (one: string, other: string): boolean => isSameHub(hubNameOf(one), hubNameOf(other));

/** @param hub `host`, or `host:port` in tests */
export const addressAt = (
  hub: string,
  { deviceId, moduleId }: { readonly deviceId: string; readonly moduleId: string },
  gateway: string | undefined,
): ModuleAddress => ({ hostName: hubNameOf(hub), deviceId, moduleId, connectTo: gateway ?? hub });
