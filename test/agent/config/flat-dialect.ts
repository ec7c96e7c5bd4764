import { isPlainObject } from '../../../src/core/base/values.ts';
import type { SettingId, SettingRow } from '../../../src/core/contract/settings.ts';
import type { Dialect } from '../../../src/core/twin/dialect.ts';
import { unknownNames } from '../../../src/core/twin/published-object.ts';

const PREFIX = 'vakt_';

/** A second dialect, for tests: `vakt_baselineRoles: "router"`, directly in the section. `"default"` unsets. */
export function flatDialect(rows: readonly SettingRow[]): Dialect {
  const properties: readonly SettingRow[] = rows.map((row) => ({ ...row, name: PREFIX + row.id.replace('.', '_') }));
  const names = properties.map(({ name }) => name);
  const unknownIn = (object: object) => Object.keys(object).filter((name) => !names.includes(name));
  const documentIn = (desired: object) =>
    Object.fromEntries(Object.entries(desired).filter(([name]) => name.startsWith(PREFIX)));
  return {
    properties,
    documentIn,
    sectionWith: (document) => ({ ...document }),
    read(document) {
      if (!isPlainObject(document ?? {})) return { name: 'vakt', fault: 'must be an object' };
      const stated = new Map<SettingId, { value: unknown }>();
      for (const { id, name } of properties) {
        const value = Object.getOwnPropertyDescriptor(document ?? {}, name)?.value;
        if (value !== undefined && value !== null && value !== 'default') stated.set(id, { value });
      }
      return { stated, unknown: unknownIn(document ?? {}) };
    },
    write(spellings) {
      const members = properties.flatMap(({ id, name }) => {
        const value = spellings.get(id);
        return value === undefined ? [] : [[name, value] as const];
      });
      return Object.fromEntries(members);
    },
    unknownNames: (desired) => unknownNames(unknownIn(documentIn(desired)), names),
  };
}
