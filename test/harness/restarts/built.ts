import { IdentitySettings } from '../../../src/agent/identity/kinds.ts';
import { SITES, type SiteName } from './sites.ts';

/** The sites with a kind of identity that this agent supports. */
export function built(): SiteName[] {
  const kinds: readonly unknown[] = IdentitySettings.options.flatMap(kindsOf);
  return (Object.keys(SITES) as SiteName[]).filter((name) => kinds.includes(SITES[name].kind));
}

/** Members of an object schema, even inside a pipe. */
function kindsOf(schema: object): unknown[] {
  const { entries } = schema as { entries?: { kind?: { literal?: unknown } } };
  return entries?.kind?.literal === undefined ? [] : [entries.kind.literal];
}
