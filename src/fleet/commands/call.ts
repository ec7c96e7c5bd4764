import { minutes, seconds } from '../../core/base/duration.ts';
import { printable, printableJson } from '../../core/base/text.ts';
import { durationOption, UsageError } from '../../core/command-line/command.ts';
import { chosenModules, countChosen } from '../choice.ts';
import { AT_ONCE } from '../hub-agent.ts';
import { forEachLimited } from '../pace.ts';
import { DRY_RUN, reported } from './report.ts';
import { devices, isAgreed, type Task } from './task.ts';

/** Method names that the hub accepts. */
const NAME = /^[\w.~-]{1,100}$/;
/** The lowest status of an agent's error response. */
const REFUSED = 400;

/** Calls a direct method of the chosen modules, and prints the answers as they come. */
export async function call(task: Task, name: string | undefined): Promise<number> {
  const { hub, choice, moduleId, values, world, report } = task;
  if (name === undefined || !NAME.test(name)) throw new UsageError('name the method to call');
  const payload = payloadIn(values.payload);
  const limit = values.timeout === undefined ? seconds(30) : durationOption('timeout', values.timeout);
  if (limit < seconds(5) || limit > minutes(5)) throw new UsageError('--timeout takes PT5S to PT5M');
  const count = await countChosen(hub, choice, moduleId);
  if (!(await isAgreed(task, `call ${name} on ${devices(count)}`, count))) return 1;
  report.expect(count);
  const callOne = async (deviceId: string) => {
    if (task.isDryRun) {
      report.line(printable(`would call ${name} of ${deviceId}/${moduleId}`));
      return report.note('called');
    }
    const answer = await hub.callMethod(deviceId, moduleId, { name, payload, limit });
    report.line(
      values.json === true
        ? printableJson(JSON.stringify({ deviceId, ...answer }))
        : `${printable(deviceId)}  ${answer.status}  ${printableJson(JSON.stringify(answer.payload ?? null))}`,
    );
    if (answer.status >= REFUSED) report.fail(deviceId);
    else report.note('answered');
  };
  const label = task.isDryRun ? DRY_RUN : 'Calls';
  return reported(report, label, world.signal, async () => {
    for await (const page of pagesOf(task))
      await forEachLimited(page, AT_ONCE, (deviceId) => report.device(deviceId, () => callOne(deviceId)));
  });
}

/** Named devices are called without a query, since queries lag. */
async function* pagesOf({ hub, choice, moduleId }: Task): AsyncGenerator<readonly string[]> {
  if (choice.kind === 'devices') yield choice.ids;
  else
    for await (const rows of chosenModules(hub, { choice, moduleId, columns: 'deviceId' }))
      yield rows.map(({ deviceId }) => String(deviceId));
}

function payloadIn(text: string | undefined): unknown {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    throw new UsageError('--payload takes JSON');
  }
}
