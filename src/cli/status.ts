import { askControlSocket } from '../base/control-socket.ts';
import { printable, printableJson } from '../base/printable.ts';
import { DEFAULT_CONFIG_FILE, readLocalSettings } from '../config/local.ts';
import type { LocalStatus } from '../status.ts';
import { readArguments, table, type World } from './command.ts';
import { describeBooks } from './describe.ts';

export const summary = 'Show how the running agent is doing.';
export const usage = `vakt status [--config FILE] [--json]

  --config FILE   the running agent's configuration; ${DEFAULT_CONFIG_FILE} when not given
  --json          the whole status as JSON

Exit status: 0 running, 1 not running, degraded, paused or stopping.`;

export async function run(args: readonly string[], { stdout, environment, signal }: World): Promise<number> {
  const { values } = readArguments(args, { config: { type: 'string' }, json: { type: 'boolean' } });
  const local = readLocalSettings(values.config, environment);
  const status = (await askControlSocket(local.controlSocket, '/status', { signal })) as LocalStatus;
  if (values.json) stdout(printableJson(JSON.stringify(status, null, 2)));
  else for (const line of describe(status)) stdout(line);
  return status.state === 'running' ? 0 : 1;
}

function describe(status: LocalStatus): string[] {
  const { hub, configuration, delivery, store, memory, pause, logLevel } = status;
  const faults = Object.entries(configuration.errors).map(([name, message]) => `  error: ${name} ${message}`);
  const doubts = Object.entries(configuration.warnings).map(([name, message]) => `  warning: ${name} ${message}`);
  return [
    ...table([
      ['agent', `${status.state}, version ${status.version}, since ${status.startedAt}, id ${status.agentId}`],
      ...(pause === undefined
        ? []
        : [['paused', `until ${pause.until}, ${pause.skipped} events skipped: ${pause.reason}`]]),
      ...(logLevel === undefined
        ? []
        : [['log level', `${logLevel.level} until ${logLevel.until}, then ${logLevel.afterwards}`]]),
      ['hub', hub.error === undefined ? hub.state : `${hub.state}: ${hub.error}`],
      ...(hub.remedy === undefined ? [] : [['', hub.remedy]]),
      [
        'configuration',
        `${configuration.source}${configuration.desiredVersion === undefined ? '' : `, desired version ${configuration.desiredVersion}`}`,
      ],
      ['memory', `${inMegabytes(memory.residentBytes)} of ${inMegabytes(memory.budgetBytes)} MB`],
      ['events', describeBooks(delivery)],
      ...(store.place === 'disk'
        ? []
        : [
            ['store', `in memory: ${store.reason}`],
            ['', 'Make the disk writable; what waits in memory is lost if the agent ends before.'],
          ]),
      ...(store.isNearlyFull
        ? [
            ['store', 'nearly full'],
            ['', 'Let the agent reach its hub, or raise maxLocalCacheSizeInBytes; soon the oldest events are dropped.'],
          ]
        : []),
      [
        'messages',
        `${delivery.messagesSent} sent, ${delivery.messagesFailed} failed attempts${delivery.lastSentAt === undefined ? '' : `, last at ${delivery.lastSentAt}`}`,
      ],
    ]),
    ...[...faults, ...doubts].map(printable),
    '',
    ...table([
      ['EVENT', 'STATE', 'SOURCE', 'COLLECTED', 'DELIVERED', 'QUEUED', 'REASON'],
      ...Object.entries(status.collectors).map(([name, { state, source = '', reason = '' }]) => {
        const { collected, delivered, queued } = status.events[name] ?? { collected: 0, delivered: 0, queued: 0 };
        return [name, state, source, String(collected), String(delivered), String(queued), reason];
      }),
    ]),
  ];
}

const inMegabytes = (bytes: number) => Math.round(bytes / (1024 * 1024));
