import { notASetting } from '../../core/base/nearest-name.ts';
import { entriesOf, isBoolean, isNumber } from './schema.ts';

/** The path of every setting, and the environment variable that sets it. */
export function settingPaths(
  schema: unknown,
  above: readonly string[] = [],
): { path: string[]; variable: string; schema: unknown }[] {
  return Object.entries(entriesOf(schema)).flatMap(([name, member]) => {
    const path = [...above, name];
    if (Object.keys(entriesOf(member)).length > 0) return settingPaths(member, path);
    const words = path.map((step) => step.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase());
    return [{ path, variable: `VAKT_${words.join('__')}`, schema: member }];
  });
}

/** Variables of the project's own tests. They begin with `VAKT_` and set nothing. */
const FOR_TESTS = [
  'VAKT_PUBLISHED_SCHEMAS',
  'VAKT_REQUIRE_ALL',
  'VAKT_RELEASE',
  'VAKT_FUZZ',
  'VAKT_PRINT_TABLE',
  'VAKT_PROGRAM',
];

/**
 * Variables with the address of a service or of another container, as Kubernetes and Docker's links make them: for a service
 * `vakt-x` VAKT_X_SERVICE_HOST, VAKT_X_SERVICE_PORT_HTTP, VAKT_X_PORT and VAKT_X_PORT_80_TCP_ADDR. Where the name alone could
 * be that of a misspelt setting, the value decides.
 */
const OF_SERVICE =
  /^VAKT_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)=|PORT=\w+:\/\/|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?=)/;

/**
 * What Docker adds for a link `vakt-x` of a container `web`: VAKT_X_NAME, which is `/web/vakt-x`, and VAKT_X_ENV_…. A name with
 * `__` is that of a setting in a group.
 */
const OF_LINK = /^VAKT_(?:[^\W_]+_)*(?:NAME=\/[^/]+\/vakt[^/]*$|ENV_)/;

/** The settings that environment variables override, and a message for each `VAKT_…` variable that is not a setting. */
export function fromEnvironment(
  schema: unknown,
  environment: NodeJS.ProcessEnv,
): { overrides: Override[]; unknown: string[] } {
  const settings = settingPaths(schema);
  const overrides = settings.flatMap(({ path, variable, schema: setting }) => {
    const text = environment[variable];
    if (text === undefined) return [];
    return [{ path, value: parsed(setting, text) }];
  });
  const known = settings.map(({ variable }) => variable);
  const unknown = Object.entries(environment)
    .filter(([name]) => name.startsWith('VAKT_') && !known.includes(name) && !FOR_TESTS.includes(name))
    .filter(([name, value]) => ![OF_SERVICE, OF_LINK].some((form) => form.test(`${name}=${value}`)))
    .map(([name]) => `the variable ${name} ${notASetting(name, known)}`);
  return { overrides, unknown };
}

/** The value of a variable, by the type of its setting. Text that has no such value is kept, and the schema refuses it. */
function parsed(setting: unknown, text: string): unknown {
  if (isBoolean(setting)) return BOOLEANS.get(text) ?? text;
  return isNumber(setting) && /^\d{1,15}$/.test(text) ? Number(text) : text;
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['false', false],
]);

interface Override {
  readonly path: readonly string[];
  readonly value: unknown;
}

/** A copy of the settings with the overrides applied. */
export function overlay(base: unknown, overrides: readonly Override[]): unknown {
  if (typeof base !== 'object' || base === null || Array.isArray(base) || overrides.length === 0) return base;
  const result: Record<string, unknown> = structuredClone(base) as Record<string, unknown>;
  for (const { path, value } of overrides) {
    let place = result;
    for (const step of path.slice(0, -1)) {
      const inner = place[step];
      const next = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {};
      place[step] = next;
      place = next;
    }
    place[path.at(-1) ?? ''] = value;
  }
  return result;
}
