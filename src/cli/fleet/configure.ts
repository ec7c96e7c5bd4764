import { chosenModules, countChosen } from '../../fleet/choice.ts';
import { each } from '../../fleet/each.ts';
import { AT_ONCE } from '../../fleet/hub-agent.ts';
import { durationOption, UsageError } from '../command.ts';
import { type DesiredFile, readDesiredFile } from './desired-file.ts';
import { isSo } from './merge.ts';
import { DRY_RUN, reported } from './report.ts';
import { devices, isAgreed, type Task } from './task.ts';
import { waitForAgents } from './wait.ts';
import { writeConfiguration } from './write.ts';

/** Writes a configuration to the twins of the chosen modules that do not have it yet. */
export async function configure(task: Task, file: string | undefined): Promise<number> {
  const { hub, choice, moduleId, values, world, report } = task;
  if (file === undefined) throw new UsageError('name the file with the configuration');
  const wait = values.wait === undefined ? undefined : durationOption('wait', values.wait);
  const wanted = readDesiredFile(file, values['twin-object-name'], world);
  const count = await countChosen(hub, choice, moduleId);
  if (!(await isAgreed(task, `configure ${moduleId} on ${devices(count)}`, count))) return 1;
  report.expect(count);
  const configured = new Set<string>();
  const what = task.isDryRun ? DRY_RUN : 'Configurations';
  const status = await reported(report, what, world.signal, async () => {
    for await (const page of pagesOf(task, wanted))
      await each(page, AT_ONCE, (target) =>
        report.device(target.deviceId, async () => {
          await writeOne(task, wanted, target);
          if (choice.kind !== 'all') configured.add(target.deviceId);
        }),
      );
  });
  if (wait === undefined || task.isDryRun || world.signal.aborted) return status;
  return (await waitForAgents(task, { wanted, configured, limit: wait })) ? status : 1;
}

interface Target {
  readonly deviceId: string;
  /** What desired has by a query; absent if that has not been asked. */
  readonly document?: unknown;
}

/** Devices that are named are not looked for by queries, which lag: one without the module is then a failure. */
async function* pagesOf({ hub, choice, moduleId }: Task, { objectName }: DesiredFile): AsyncGenerator<Target[]> {
  if (choice.kind === 'devices') {
    yield choice.ids.map((deviceId) => ({ deviceId }));
    return;
  }
  const columns = `deviceId, properties.desired.[[${objectName}]] AS document`;
  for await (const rows of chosenModules(hub, { choice, moduleId, columns }))
    yield rows.map(({ deviceId, document }) => ({ deviceId: String(deviceId), document: document ?? {} }));
}

async function writeOne(task: Task, wanted: DesiredFile, { deviceId, document }: Target): Promise<void> {
  const { moduleId, report, isDryRun } = task;
  if (document !== undefined && isSo(wanted.document, document)) return report.note('already up to date');
  if (!(await writeConfiguration(task, deviceId, wanted))) return report.note('already up to date');
  if (isDryRun) report.line(`would configure ${deviceId}/${moduleId}`);
  report.note('written');
}
