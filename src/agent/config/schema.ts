/* Facts about a setting, read from its valibot schema. */

/** The members of a valibot schema that are read here. */
interface SchemaNode {
  readonly entries?: Record<string, unknown>;
  readonly wrapped?: SchemaNode;
  readonly pipe?: readonly {
    readonly type: string;
    readonly metadata?: { readonly path?: boolean; readonly secret?: boolean; readonly credential?: boolean };
  }[];
  readonly options?: readonly SchemaNode[];
  readonly type?: string;
}

/** The members of an object schema, even if it is wrapped. For a variant, the members of all its options. */
export function entriesOf(schema: unknown): Record<string, unknown> {
  const node = schema as SchemaNode | undefined;
  if (node?.wrapped !== undefined) return entriesOf(node.wrapped);
  if (node?.type === 'variant') return Object.assign({}, ...(node.options ?? []).map(entriesOf));
  return node?.entries ?? {};
}

/** The option of a variant that `value.kind` selects; any other schema is returned unchanged. */
export function optionFor(schema: unknown, value: { readonly kind?: unknown }): unknown {
  const { type, options = [] } = schema as SchemaNode;
  const isMatchingOption = (option: SchemaNode) =>
    (option.entries?.kind as { literal?: unknown } | undefined)?.literal === value.kind;
  return type === 'variant' ? (options.find(isMatchingOption) ?? schema) : schema;
}

/** Whether a setting is a boolean. */
export const isBoolean = (schema: unknown): boolean => {
  const node = schema as SchemaNode | undefined;
  return node?.wrapped === undefined ? node?.type === 'boolean' : isBoolean(node.wrapped);
};

/** Whether a setting is a number. */
export const isNumber = (schema: unknown): boolean => {
  const node = schema as SchemaNode | undefined;
  return node?.wrapped === undefined ? node?.type === 'number' : isNumber(node.wrapped);
};

/** Whether a setting is marked as a path of the file system. */
export const isPath = (schema: unknown): boolean => isMarked(schema, 'path');

/** Whether a setting is marked as the path of a file that holds a secret. */
export const isSecretFile = (schema: unknown): boolean => isMarked(schema, 'secret');

/** Whether systemd may have made a copy of the file, which is read instead: a secret, or a certificate. */
export const isCredentialFile = (schema: unknown): boolean => isSecretFile(schema) || isMarked(schema, 'credential');

function isMarked(schema: unknown, mark: 'path' | 'secret' | 'credential'): boolean {
  const node = schema as SchemaNode | undefined;
  if (node?.wrapped !== undefined) return isMarked(node.wrapped, mark);
  return node?.pipe?.some(({ type, metadata }) => type === 'metadata' && metadata?.[mark] === true) ?? false;
}
