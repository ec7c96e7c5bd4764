import { readBounded } from '../../core/base/bounded-file.ts';
import { AgentError, errnoOf, messageOf } from '../../core/base/errors.ts';
import { repeatedNames, tooDeepAt } from '../../core/base/json-names.ts';
import { printable } from '../../core/base/text.ts';
import { isPlainObject } from '../../core/base/values.ts';
import type { World } from '../../core/command-line/command.ts';
import type { Dialect } from '../../core/twin/dialect.ts';
import { twinDialect } from '../../core/twin/published-object.ts';
import { readTwin } from '../../core/twin/twin.ts';

/** A configuration to write. */
export interface DesiredFile {
  /** The members of the desired section. */
  readonly section: Readonly<Record<string, unknown>>;
  /** The name of its only member. */
  readonly objectName: string;
  /** That member: properties as `{"value": …}`, or `null` to unset one. */
  readonly document: Readonly<Record<string, unknown>>;
  /** The reasons why agents would reject a configuration object, one sentence each. */
  readonly faultsOf: (document: object) => readonly string[];
}

/** A module twin's desired section is at most 32 KB. */
const MAX_FILE_BYTES = 64 * 1024;
/** Maximum nesting of objects; a hub accepts ten. */
const MAX_DEPTH = 32;

/**
 * Reads a file with desired properties, alone or within `properties.desired`, or with the configuration object alone, and
 * validates it with the agent's code. Prints every fault and every warning.
 *
 * @param objectName `twinObjectName` of the agents, or `undefined` for the default
 * @throws AgentError CONFIG_FILE_MISSING, CONFIG_FILE_UNREADABLE; TWIN_INVALID if there is a fault, including an unknown name:
 *   agents would ignore it
 */
export function readDesiredFile(file: string, objectName: string | undefined, { stderr }: World): DesiredFile {
  const dialect = twinDialect(objectName);
  const [name = ''] = Object.keys(dialect.sectionWith({}));
  const { value, repeated } = parsed(file);
  const read = sectionIn(value, file);
  const section = isConfiguration(read, name) ? dialect.sectionWith(read) : read;
  const foreignMembers = Object.keys(section).filter((member) => member !== name);
  const faults = [
    ...repeated,
    ...foreignMembers.map((member) => `${member} is not written by this command, only ${name}`),
  ];
  const document = dialect.documentIn(section);
  if (!isPlainObject(document)) faults.push(`${name} is missing or not an object`);
  else faults.push(...faultsOf(document, dialect, stderr));
  for (const fault of faults) stderr(printable(`fault: ${fault}`));
  if (faults.length === 0) {
    const refusals = (merged: object) => {
      const reading = readTwin(merged, dialect);
      return reading.ok ? [] : reading.faults.map((fault) => `${fault.name} ${fault.message}`);
    };
    return { section, objectName: name, document: document as DesiredFile['document'], faultsOf: refusals };
  }
  const remedy = `Correct ${file}; config/README.md lists the settings.`;
  const many = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
  throw new AgentError('TWIN_INVALID', `${file} has ${many}, and nothing was written`, remedy);
}

/** Prints warnings about properties in the file, but not about defaults. */
function faultsOf(document: Readonly<Record<string, unknown>>, dialect: Dialect, warn: World['stderr']): string[] {
  const unknownNames = Object.entries(dialect.unknownNames(dialect.sectionWith(document)));
  const unknown = unknownNames.map(([name, problem]) => `${name} ${problem}`);
  const reading = readTwin(document, dialect);
  if (!reading.ok) return [...unknown, ...reading.faults.map(({ name, message }) => `${name} ${message}`)];
  for (const { name, message } of reading.warnings)
    if (Object.hasOwn(document, name)) warn(printable(`warning: ${name} ${message}`));
  return unknown;
}

/** Whether a file holds the configuration object itself, without its name. */
function isConfiguration(read: Readonly<Record<string, unknown>>, name: string): boolean {
  const members = Object.values(read);
  const isProperty = (member: unknown) => member === null || (isPlainObject(member) && Object.hasOwn(member, 'value'));
  return members.length > 0 && !Object.hasOwn(read, name) && members.every(isProperty);
}

/** @returns `repeated`: a message for each duplicate name, since hubs and other readers may use either */
function parsed(file: string): { value: unknown; repeated: readonly string[] } {
  const text = textOf(file);
  try {
    const value: unknown = JSON.parse(text);
    if (tooDeepAt(text, MAX_DEPTH) !== undefined) throw new Error(`it is nested more than ${MAX_DEPTH} levels deep`);
    return { value, repeated: repeatedNames(text).map(({ path }) => `${path.at(-1)} is duplicated`) };
  } catch (error) {
    const remedy = `Correct ${file}; config/twin.json is an example.`;
    throw new AgentError('TWIN_INVALID', `${file} cannot be read: ${messageOf(error)}`, remedy);
  }
}

function textOf(file: string): string {
  try {
    return readBounded(file, MAX_FILE_BYTES);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') {
      const remedy = 'Name an existing FILE; config/twin.json is an example.';
      throw new AgentError('CONFIG_FILE_MISSING', `${file} does not exist`, remedy, { cause });
    }
    const remedy = `Make ${file} a file of at most ${MAX_FILE_BYTES} bytes that you can read.`;
    throw new AgentError(
      'CONFIG_FILE_UNREADABLE',
      `cannot read ${file}: ${errnoOf(cause) ?? messageOf(cause)}`,
      remedy,
      {
        cause,
      },
    );
  }
}

function sectionIn(value: unknown, file: string): Readonly<Record<string, unknown>> {
  const { properties } = isPlainObject(value) ? value : {};
  const section = isPlainObject(properties) ? properties.desired : value;
  if (isPlainObject(section)) return section;
  const remedy = `Correct ${file}; config/twin.json is an example.`;
  throw new AgentError('TWIN_INVALID', `${file} has no desired properties`, remedy);
}
