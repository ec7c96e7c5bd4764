import * as v from 'valibot';
import { connectionString } from './connection-string.ts';
import { deviceCertificate, deviceKey } from './device-kinds.ts';
import { edge } from './edge.ts';
import type { Identity, IdentityContext } from './identity.ts';
import { identityService } from './identity-service.ts';
import { moduleCertificate, moduleKey } from './module-kinds.ts';
import { provisioning } from './provisioning.ts';

/** Every kind of identity (contract §1). */
const KINDS = [
  connectionString,
  moduleKey,
  moduleCertificate,
  deviceKey,
  deviceCertificate,
  provisioning,
  edge,
  identityService,
] as const;

type Schemas<T extends readonly { readonly schema: unknown }[]> = { -readonly [Index in keyof T]: T[Index]['schema'] };

/** `identity` of the local file. */
export const IdentitySettings = v.variant('kind', KINDS.map(({ schema }) => schema) as Schemas<typeof KINDS>);
export type IdentitySettings = v.InferOutput<typeof IdentitySettings>;

/**
 * Makes the configured identity.
 *
 * @throws AgentError naming the file and the problem; it never contains the file's content
 */
export function createIdentity(settings: IdentitySettings, context: IdentityContext): Identity {
  const kind = KINDS.find(({ kind }) => kind === settings.kind);
  if (kind === undefined) throw new RangeError(`${settings.kind} is not a kind of identity`);
  return kind.create(settings as never, context);
}
