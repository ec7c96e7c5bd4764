import { LOG_SOURCES, type LogSource, OWN_LOG_SOURCES } from '../subject.ts';
import { type Expression, Refused } from './rule.ts';

/** Fields that rules on a source may read in addition to LIST_OF_ALL; `undefined` for any field. */
const FIELDS: Partial<Record<LogSource, readonly string[]>> = {
  process_creation: [
    ...['Image', 'CommandLine', 'ParentImage', 'ParentCommandLine', 'User', 'UserId', 'ProcessId', 'ParentProcessId'],
    ...['CurrentDirectory', 'LogonId', 'Terminal', 'ContainerId', 'Hashes', 'DownloadTarget', 'RunTarget'],
    ...['Executable', 'ParentExecutable', 'UserName', 'RealUserId', 'LoginUserId', 'Sha256', 'HashOmitted', 'Hash'],
    ...['CommandLineBytesCut', 'CommandLineUnread'],
  ],
  network_connection: [
    ...['DestinationIp', 'DestinationPort', 'SourceIp', 'SourcePort', 'Protocol', 'Initiated', 'Image', 'CommandLine'],
    ...['User', 'DestinationHostname', 'RemoteAddress', 'RemotePort', 'LocalAddress', 'LocalPort', 'Direction'],
    ...['ProcessId', 'UserId', 'UserName', 'Executable', 'Zone', 'ContainerId', 'Source', 'Result'],
  ],
  dns_query: ['QueryName', 'QueryResults', 'QueryStatus', 'Image', 'ProcessId', 'User'],
};
const FILE_FIELDS = ['TargetFilename', 'SourceFilename', 'Image', 'CommandLine', 'User', 'ProcessId', 'UserId'];

const OF_ALL = ['Device', 'Event'];

export function isKnownField(source: LogSource, field: string): boolean {
  const known = source.startsWith('file_') ? FILE_FIELDS : FIELDS[source];
  return known === undefined || known.includes(field) || OF_ALL.includes(field);
}

export interface ReadSource {
  readonly source: LogSource;
  /** Whether fields are named as in kernel audit records. */
  readonly audit: boolean;
}

const KEYS = ['product', 'category', 'service', 'definition'];

/** @throws {Refused} */
export function readLogSource(value: unknown): ReadSource {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Refused('"logsource" is missing or not a map');
  const { product, category, service } = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(value)) {
    if (!KEYS.includes(key)) throw new Refused(`"${key}" is not known in "logsource"`, [key]);
  }
  for (const [key, given] of Object.entries({ product, category, service })) {
    if (given !== undefined && typeof given !== 'string') throw new Refused(`"${key}" is not a string`, [key]);
  }
  if (product !== undefined && product !== 'linux')
    throw new Refused(`product "${product}" is not supported: this agent supports Linux only`, ['product']);
  if (service === 'auditd') {
    if (category !== undefined) throw new Refused('"service: auditd" cannot have a category', ['category']);
    return { source: 'process_creation', audit: true };
  }
  const own = OWN_LOG_SOURCES.find((source) => source === category);
  if (service === 'vakt') {
    if (own !== undefined) return { source: own, audit: false };
    const known = OWN_LOG_SOURCES.join(', ');
    throw new Refused(`category "${category}" of service "vakt" is not known; ${known} are`, ['category']);
  }
  if (service !== undefined)
    throw new Refused(`service "${service}" is not supported: the agent does not read its logs`, ['service']);
  if (category === undefined) throw new Refused('"logsource" has neither a known category nor a known service');
  if (own !== undefined) throw new Refused(`category "${category}" needs "service: vakt"`, ['category']);
  const known = LOG_SOURCES.find((source) => source === category);
  if (known === undefined) throw new Refused(`category "${category}" is not known`, ['category']);
  return { source: known, audit: false };
}

/** Rejects fields that events of the source never have, because the rule could never match. */
export function checkFields(expression: Expression, { source, audit }: ReadSource): void {
  visit(expression, (field, test) => {
    if (audit) {
      if (isExecve(field, test)) return;
      if (field === 'type') throw new Refused('service auditd supports only "type: EXECVE"', [field]);
      if (!ARGUMENT.test(field))
        throw new Refused(`service auditd supports only type and a0, a1 …, not "${field}"`, [field]);
    } else if (!isKnownField(source, field)) {
      throw new Refused(`events of ${source} have no field "${field}"`, [field]);
    }
  });
}

/** Rejects a rule on audit that may refer to records other than program starts. */
export function checkRecords(expression: Expression, { audit }: ReadSource): void {
  const state = { executes: !audit };
  visit(expression, (field, test) => {
    state.executes ||= isExecve(field, test);
  });
  if (!state.executes) throw new Refused('service auditd supports only rules with "type: EXECVE"');
}

const isExecve: (...of: Parameters<Visit>) => boolean = (field, test) =>
  field === 'type' && test?.is === 'text' && test.place === 'is' && test.text.toUpperCase() === 'EXECVE';

/** Whether events of a source can have a field, in a correlation: there, rules on audit also have the fields of a start. */
export const hasField = ({ source, audit }: ReadSource, field: string): boolean =>
  isKnownField(source, field) || (audit && (field === 'type' || ARGUMENT.test(field)));

const ARGUMENT = /^a\d{1,3}$/;

type Visit = (field: string, test: Extract<Expression, { is: 'field' }>['test'] | undefined) => void;

/** Visits all fields of an expression, with their tests. */
export function visit(expression: Expression, see: Visit): void {
  switch (expression.is) {
    case 'and':
    case 'or':
      for (const of of expression.of) visit(of, see);
      return;
    case 'not':
      visit(expression.of, see);
      return;
    case 'field':
      see(expression.field, expression.test);
      if (expression.test.is === 'field') see(expression.test.other, undefined);
      return;
    case 'keyword':
      return;
  }
}

/** Whether an expression searches all fields. */
export function hasKeyword(expression: Expression): boolean {
  if (expression.is === 'not') return hasKeyword(expression.of);
  if (expression.is === 'and' || expression.is === 'or') return expression.of.some(hasKeyword);
  return expression.is === 'keyword';
}

/** All fields in an expression. */
export function fieldsOf(expression: Expression): ReadonlySet<string> {
  const fields = new Set<string>();
  visit(expression, (field) => fields.add(field));
  return fields;
}
