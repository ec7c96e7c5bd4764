import type { Spelling } from '../contract/setting-kinds.ts';
import type { NameOfSetting, SettingId, SettingRow } from '../contract/settings.ts';

/* How the module twin writes settings. A row has the published name of its setting; another dialect can replace it.
 * All other code uses settings by their ids. To add a dialect, write one file that makes a `Dialect`, as published-object.ts does. */

/** One setting as read from a document: a value that is not checked yet, or why it has none. */
export type Stated = { readonly value: unknown } | { readonly fault: string };

export type DocumentReading =
  | {
      /** `undefined` if the document does not mention the setting, or unsets it. */
      readonly stated: ReadonlyMap<SettingId, Stated>;
      /** Names in the document that no setting has. */
      readonly unknown: readonly string[];
    }
  /** The document as a whole cannot be read. */
  | { readonly name: string; readonly fault: string };

/** A section of the module twin, desired or reported. Desired is hostile input. */
type Section = Readonly<Record<string, unknown>>;

/**
 * One way to write settings. A *document* is the part of a section that is about settings, as JSON.
 *
 * No function throws, whatever the hub sends.
 */
export interface Dialect {
  /** Every setting, in the order of the table. */
  readonly properties: readonly SettingRow[];
  /** The document of the desired section; `null` when there is none. A change of its JSON text is a change of the configuration. */
  documentIn(desired: Section): unknown;
  /** The members of a section that hold this document. */
  sectionWith(document: object): Record<string, unknown>;
  read(document: unknown): DocumentReading;
  /** The document that states these settings and no others. */
  write(spellings: ReadonlyMap<SettingId, Spelling>): Record<string, unknown>;
  /** Why the agent ignores a name in the desired section, by name; a bounded number of them. */
  unknownNames(desired: Section): Record<string, string>;
}

/** Names by id; an id that the dialect does not know names itself. */
export function namesOf(properties: readonly SettingRow[]): NameOfSetting {
  const names = new Map<string, string>(properties.map(({ id, name }) => [id, name]));
  return (id) => names.get(id) ?? id;
}
