/* Looking into valibot schemas, which know everything about a setting. */

/** As much of a valibot schema as is looked at. */
interface SchemaNode {
  readonly entries?: Record<string, unknown>;
  readonly wrapped?: SchemaNode;
  readonly pipe?: readonly {
    readonly type: string;
    readonly metadata?: { readonly path?: boolean; readonly secret?: boolean };
  }[];
  readonly options?: readonly SchemaNode[];
  readonly type?: string;
}

/** An object schema's members, whatever wraps it; for a variant, those of all its options. */
export function entriesOf(schema: unknown): Record<string, unknown> {
  const node = schema as SchemaNode | undefined;
  if (node?.wrapped !== undefined) return entriesOf(node.wrapped);
  if (node?.type === 'variant') return Object.assign({}, ...(node.options ?? []).map(entriesOf));
  return node?.entries ?? {};
}

/** Of a variant the option that `value` says it is; any other schema itself. */
export function optionFor(schema: unknown, value: { readonly kind?: unknown }): unknown {
  const { type, options = [] } = schema as SchemaNode;
  const isMeant = (option: SchemaNode) =>
    (option.entries?.kind as { literal?: unknown } | undefined)?.literal === value.kind;
  return type === 'variant' ? (options.find(isMeant) ?? schema) : schema;
}

/** Whether a setting is true or false. */
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

function isMarked(schema: unknown, mark: 'path' | 'secret'): boolean {
  const node = schema as SchemaNode | undefined;
  if (node?.wrapped !== undefined) return isMarked(node.wrapped, mark);
  return node?.pipe?.some(({ type, metadata }) => type === 'metadata' && metadata?.[mark] === true) ?? false;
}
