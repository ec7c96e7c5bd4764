import { UsageError } from '../../core/command-line/command.ts';
import { among, chosenDevices, countChosen, isModule, listsOf, source } from '../choice.ts';
import { AT_ONCE } from '../hub-agent.ts';
import { KeyDirectory } from '../key-directory.ts';
import { forEachLimited } from '../pace.ts';
import type { HubService } from '../service.ts';
import { ServiceFailure } from '../service-failure.ts';
import { type DesiredFile, readDesiredFile } from './desired-file.ts';
import { DRY_RUN, reported } from './report.ts';
import { devices, isAgreed, type Task } from './task.ts';
import { patchIfSame, writeConfiguration } from './write.ts';

/** The relevant parts of a module's twin. */
interface Existing {
  readonly etag: string;
  /** Whether it was never written to: it has neither tags nor desired properties. */
  readonly isUntouched: boolean;
}

/** The settings of new modules. */
interface ModuleSettings {
  /** `undefined` for an empty twin. */
  readonly twin: InitialTwin | undefined;
  readonly keys: KeyDirectory | undefined;
  readonly overwrites: boolean;
}

interface InitialTwin {
  readonly tags: object;
  readonly configuration: DesiredFile | undefined;
}

/** The patch for a twin that was never written to. */
const patchOf = ({ tags, configuration }: InitialTwin): object => ({
  tags,
  ...(configuration === undefined ? {} : { properties: { desired: configuration.section } }),
});

/**
 * Creates the module on every chosen device that lacks it.
 *
 * A run can be interrupted between creating a module and writing its twin. So a module with an untouched twin counts as
 * new: the next run finishes it, unless its twin was written to in the meantime.
 */
export async function create(task: Task): Promise<number> {
  const { hub, choice, moduleId, values, world, report } = task;
  const twin = twinOf(task);
  const count = await countChosen(hub, choice);
  if (!(await isAgreed(task, `make the module ${moduleId} on up to ${devices(count)}`, count))) return 1;
  const directory = values['key-directory'];
  const settings: ModuleSettings = {
    twin,
    keys: directory === undefined || task.isDryRun ? undefined : new KeyDirectory(directory),
    overwrites: values.overwrite === true,
  };
  report.expect(count);
  const label = task.isDryRun ? DRY_RUN : `Modules ${moduleId}`;
  return reported(report, label, world.signal, async () => {
    for await (const page of chosenDevices(hub, choice)) {
      for (const list of listsOf(page)) {
        const existing = await existingAmong(hub, moduleId, list);
        await forEachLimited(list, AT_ONCE, (deviceId) =>
          report.device(deviceId, () => createOne(task, settings, deviceId, existing.get(deviceId))),
        );
      }
    }
  });
}

/** @throws {UsageError}; AgentError TWIN_INVALID after printing all faults */
function twinOf({ values, world }: Task): InitialTwin | undefined {
  const tags = Object.fromEntries((values.tag ?? []).map(tagIn));
  const file = values.configuration;
  const configuration = file === undefined ? undefined : readDesiredFile(file, values['twin-object-name'], world);
  if (configuration === undefined && Object.keys(tags).length === 0) {
    if (values.overwrite === true) throw new UsageError('--overwrite needs --tag or --configuration');
    return undefined;
  }
  return { tags, configuration };
}

/** Numbers and booleans are typed, so that `--where 'tags.site = 1'` finds them. */
function tagIn(text: string): [string, string | number | boolean] {
  const [, name = '', value = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (name === '' || /[.$\s]|\p{Cc}/u.test(name)) throw new UsageError(`--tag takes NAME=VALUE, not "${text}"`);
  if (value === 'true' || value === 'false') return [name, value === 'true'];
  return [name, /^-?(?:0|[1-9]\d{0,14})$/.test(value) ? Number(value) : value];
}

/** One query for several hundred devices costs the hub less than one request per device. */
async function existingAmong(
  hub: HubService,
  moduleId: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Existing>> {
  const found = new Map<string, Existing>();
  const from = source('devices.modules', [isModule(moduleId), among(ids)]);
  const columns = 'deviceId, etag, tags, properties.desired.$version AS version';
  for await (const rows of hub.query(`SELECT ${columns} FROM ${from}`)) {
    for (const { deviceId, etag, tags, version } of rows)
      found.set(String(deviceId), { etag: String(etag), isUntouched: version === 1 && isEmpty(tags) });
  }
  return found;
}

const isEmpty = (tags: unknown) => Object.keys(tags ?? {}).length === 0;

async function createOne(
  task: Task,
  settings: ModuleSettings,
  deviceId: string,
  known: Existing | undefined,
): Promise<void> {
  const { hub, moduleId, report, isDryRun } = task;
  if (known !== undefined) return complete(task, settings, deviceId, known);
  if (isDryRun) {
    report.line(`would make ${deviceId}/${moduleId}`);
    return report.note('made');
  }
  let key: string;
  try {
    key = await hub.createModule(deviceId, moduleId);
  } catch (error) {
    // Queries lag, and an earlier attempt without an answer may have created the module.
    if (!(error instanceof ServiceFailure) || error.status !== 409) throw error;
    const { etag, tags, desired } = await hub.moduleTwin(deviceId, moduleId);
    const isUntouched = desired.$version === 1 && isEmpty(tags);
    return complete(task, settings, deviceId, { etag, isUntouched });
  }
  settings.keys?.write(deviceId, key);
  if (settings.twin !== undefined) await hub.patchTwin(deviceId, moduleId, patchOf(settings.twin));
  report.note('made');
}

/** Finishes, overwrites or skips an existing module. */
async function complete(task: Task, settings: ModuleSettings, deviceId: string, known: Existing): Promise<void> {
  const { report } = task;
  const { keys, overwrites } = settings;
  if (keys !== undefined && (overwrites || !keys.has(deviceId))) await writeKey(task, keys, deviceId);
  const outcome = overwrites ? 'overwritten' : 'finished';
  if (settings.twin === undefined || !(overwrites || known.isUntouched)) return report.note('already there');
  const { tags, configuration } = settings.twin;
  if (overwrites && configuration !== undefined) await writeConfiguration(task, deviceId, configuration, tags);
  else if (!task.isDryRun) {
    const version = await patchIfSame(task, deviceId, patchOf(settings.twin), overwrites ? '*' : known.etag);
    if (version === undefined) return report.note('already there');
  }
  if (task.isDryRun) report.line(`would be ${outcome}: ${deviceId}/${task.moduleId}`);
  report.note(outcome);
}

async function writeKey({ hub, moduleId }: Task, keys: KeyDirectory, deviceId: string): Promise<void> {
  const key = await hub.moduleKey(deviceId, moduleId);
  if (key === '') throw new ServiceFailure('refused', 0, 'the module has no key: it uses a certificate');
  keys.write(deviceId, key);
}
