import * as v from 'valibot';
import { askControlSocket, notUnderstood } from '../../core/base/control-socket.ts';
import { printable, printableJson } from '../../core/base/text.ts';
import { readArguments, type World } from '../../core/command-line/command.ts';
import { DEFAULT_CONFIG_FILE } from '../config/local.ts';
import { controlSocketOf, explain } from './status.ts';

export const summary = 'Show the last alerts of the detection rules.';

export const usage = `vakt alerts [--config FILE] [--json] [--follow]

  --config FILE   the running agent's configuration; default ${DEFAULT_CONFIG_FILE}
  --json          print alerts as in messages, one JSON object per line
  --follow        afterwards show each new alert, and each update of one, until Ctrl-C

The agent keeps the last 200 alerts, also over restarts. Secrets in their command lines are replaced by [redacted].`;

/** The shown members of a SecurityAlert. */
const Alert = v.object({
  AlertType: v.string(),
  Severity: v.string(),
  RuleTitle: v.string(),
  Count: v.number(),
  FirstSeenUtc: v.string(),
  LastSeenUtc: v.string(),
  Remediation: v.string(),
  CommandLine: v.optional(v.string()),
  UserName: v.optional(v.string()),
  UserId: v.optional(v.string()),
  Executable: v.optional(v.string()),
  ProcessId: v.optional(v.number()),
  ParentExecutable: v.optional(v.string()),
  RemoteAddress: v.optional(v.string()),
  RemotePort: v.optional(v.string()),
  ContainerId: v.optional(v.string()),
  ExtraDetails: v.optional(v.record(v.string(), v.string())),
});
type Alert = v.InferOutput<typeof Alert>;

/** What tells an alert and its updates apart: the count grows with each update. */
const Counted = v.object({ AlertId: v.string(), Count: v.number() });

type Show = (alert: unknown, kind?: 'live') => void;

export async function run(args: readonly string[], world: World): Promise<number> {
  const options = { config: { type: 'string' }, json: { type: 'boolean' }, follow: { type: 'boolean' } } as const;
  const { config, json = false, follow = false } = readArguments(args, options).values;
  const { path, error } = controlSocketOf(config, world.environment);
  const { stdout, stderr, signal } = world;
  const show: Show = (alert, kind) => {
    stdout(json ? printableJson(JSON.stringify(alert)) : describe(alert).join('\n'), kind);
  };
  const list = async (): Promise<readonly unknown[]> => {
    const alerts = await askControlSocket(path, '/alerts', { signal });
    if (!Array.isArray(alerts)) throw notUnderstood(path);
    for (const alert of alerts) show(alert);
    return alerts;
  };
  try {
    if (follow) await followAlerts(path, { list, show, world });
    else if ((await list()).length === 0) stderr('No alert so far.');
  } catch (thrown) {
    await explain(thrown, { config, error }, signal);
  }
  return 0;
}

/** Follows before it lists, so that no alert is missed between both, and shows no alert again that the list had. */
async function followAlerts(
  path: string,
  { list, show, world: { stderr, signal } }: { list: () => Promise<readonly unknown[]>; show: Show; world: World },
): Promise<void> {
  const listed = new Map<unknown, number>();
  await askControlSocket(path, '/alerts/follow', {
    async onOpen() {
      for (const alert of await list()) if (v.is(Counted, alert)) listed.set(alert.AlertId, alert.Count);
      stderr('Following the alerts of the running agent; Ctrl-C ends it.');
    },
    onLine(line) {
      const alert: unknown = JSON.parse(line);
      if (v.is(Counted, alert) && alert.Count <= (listed.get(alert.AlertId) ?? 0)) return;
      listed.clear(); // all that follows is newer than the list
      show(alert, 'live');
    },
    signal,
  });
}

/** Any process of the agent's user could answer at the socket, so the answer is checked. */
export function describe(value: unknown): string[] {
  const checked = v.safeParse(Alert, value);
  if (!checked.success) return ['(an alert that this version of vakt does not understand)'];
  const alert = checked.output;
  const { LastSeenUtc, Severity, AlertType, Count, RuleTitle, Remediation, ExtraDetails = {} } = alert;
  const times = Count === 1 ? '' : `, ${Count} times since ${alert.FirstSeenUtc}`;
  const facts = [...factsOf(alert), ...Object.entries(ExtraDetails).map(([name, text]) => `${name} ${text}`)];
  return [
    `${LastSeenUtc} ${Severity} ${AlertType}: ${RuleTitle}${times}`,
    ...(alert.CommandLine === undefined ? [] : [`  ${alert.CommandLine}`]),
    ...(facts.length === 0 ? [] : [`  ${facts.join(', ')}`]),
    `  ${Remediation}`,
    '',
  ].map(printable);
}

function factsOf(alert: Alert): string[] {
  const { UserName, UserId, Executable, ProcessId, ParentExecutable, RemoteAddress, RemotePort, ContainerId } = alert;
  const port = RemotePort === undefined ? '' : ` port ${RemotePort}`;
  return [
    ...(UserName === undefined && UserId === undefined ? [] : [`by ${UserName ?? UserId}`]),
    ...(Executable === undefined ? [] : [`executable ${Executable}`]),
    ...(ProcessId === undefined || ProcessId === 0 ? [] : [`process ${ProcessId}`]),
    ...(ParentExecutable === undefined ? [] : [`started by ${ParentExecutable}`]),
    ...(RemoteAddress === undefined ? [] : [`remote ${RemoteAddress}${port}`]),
    ...(ContainerId === undefined ? [] : [`container ${ContainerId.slice(0, 12)}`]),
  ];
}
