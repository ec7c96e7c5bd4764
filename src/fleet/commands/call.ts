import { minutes, seconds } from '../../core/base/duration.ts';
import { printable, printableJson } from '../../core/base/text.ts';
import { durationOption, UsageError } from '../../core/command-line/command.ts';
import { chosenModules, countChosen } from '../choice.ts';
import { each } from '../each.ts';
import { AT_ONCE } from '../hub-agent.ts';
import { DRY_RUN, reported } from './report.ts';
import { devices, isAgreed, type Task } from './task.ts';

/** What the hub accepts as a name. */
const NAME = /^[\w.~-]{1,100}$/;
/** An agent's answer that is no success. */
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
    if (answer.status >= REFUSED) report.fail(deviceId, `the agent answers ${answer.status}`);
    else report.note('answered');
  };
  const what = task.isDryRun ? DRY_RUN : 'Calls';
  return reported(report, what, world.signal, async () => {
    for await (const page of pagesOf(task))
      await each(page, AT_ONCE, (deviceId) => report.device(deviceId, () => callOne(deviceId)));
  });
}

/** Devices that are named are called whatever queries, which lag, know of them. */
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
