import type { LogSource } from './subject.ts';

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
