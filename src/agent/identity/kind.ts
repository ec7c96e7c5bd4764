import type * as v from 'valibot';
import type { Identity, IdentityContext } from './identity.ts';

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
