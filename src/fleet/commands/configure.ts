import { durationOption, UsageError } from '../../core/command-line/command.ts';
import { chosenModules, countChosen } from '../choice.ts';
import { AT_ONCE } from '../hub-agent.ts';
import { forEachLimited } from '../pace.ts';
import { type DesiredFile, readDesiredFile } from './desired-file.ts';
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
  const versions = new Map<string, number>();
  const label = task.isDryRun ? DRY_RUN : 'Configurations';
  const status = await reported(report, label, world.signal, async () => {
    for await (const page of pagesOf(task))
      await forEachLimited(page, AT_ONCE, (deviceId) =>
        report.device(deviceId, async () => {
          const version = await writeOne(task, wanted, deviceId);
          if (wait !== undefined) versions.set(deviceId, version);
        }),
      );
  });
  if (wait === undefined || task.isDryRun || world.signal.aborted) return status;
  return (await waitForAgents(task, { wanted, versions, limit: wait })) ? status : 1;
}

/** Named devices are not queried, since queries lag: a device without the module is then a failure. */
async function* pagesOf({ hub, choice, moduleId }: Task): AsyncGenerator<readonly string[]> {
  if (choice.kind === 'devices') {
    yield choice.ids;
    return;
  }
  for await (const rows of chosenModules(hub, { choice, moduleId, columns: 'deviceId' }))
    yield rows.map(({ deviceId }) => String(deviceId));
}

/**
 * Reads each twin to see whether it has the configuration: a query may return an older state of the twin.
 *
 * @returns `$version` of desired
 */
async function writeOne(task: Task, wanted: DesiredFile, deviceId: string): Promise<number> {
  const { moduleId, report, isDryRun } = task;
  const { isChanged, version } = await writeConfiguration(task, deviceId, wanted);
  if (isChanged && isDryRun) report.line(`would configure ${deviceId}/${moduleId}`);
  report.note(isChanged ? 'written' : 'already up to date');
  return version;
}
